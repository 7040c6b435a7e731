"""What the ops ask of a tensor's device."""

from __future__ import annotations

import torch
from torch import Tensor


def stream_of(tensor: Tensor) -> int:
    """Return torch's current stream on the tensor's GPU as a whole number; 0 on the CPU."""
    return torch.cuda.current_stream(tensor.device).cuda_stream if tensor.is_cuda else 0

"""Log-probability of each token and entropy of its distribution, from logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from r1core import _C
from r1core.cuda import stream_of


@torch.library.custom_op("r1core::token_logprobs", mutates_args=())
def _token_logprobs(
    logits: Tensor, tokens: Tensor, temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _C.token_logprobs(logits, tokens, temperature, stream_of(logits))


@torch.library.custom_op("r1core::token_logprobs_backward", mutates_args=())
def _token_logprobs_backward(
    logits: Tensor,
    tokens: Tensor,
    statistics: Tensor,
    grad_logprobs: Tensor,
    grad_entropies: Tensor,
    temperature: float,
) -> Tensor:
    return _C.token_logprobs_backward(
        logits,
        tokens,
        statistics,
        grad_logprobs,
        grad_entropies,
        temperature,
        stream_of(logits),
    )


@_token_logprobs.register_fake
def _(logits: Tensor, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    row = logits.new_empty(logits.shape[0], dtype=dtype)
    statistics = logits.new_empty(logits.shape[0], 3, dtype=torch.float64)
    return row, torch.empty_like(row), statistics


@_token_logprobs_backward.register_fake
def _(
    logits: Tensor,
    tokens: Tensor,
    statistics: Tensor,
    grad_logprobs: Tensor,
    grad_entropies: Tensor,
    temperature: float,
) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Any) -> None:
    logits, tokens, ctx.temperature = inputs
    statistics = output[2]
    ctx.mark_non_differentiable(statistics)
    ctx.save_for_backward(logits, tokens, statistics)


def _backward(
    ctx: Any, grad_logprobs: Tensor, grad_entropies: Tensor, _: Any
) -> tuple[Tensor, None, None]:
    grad = _token_logprobs_backward(
        *ctx.saved_tensors, grad_logprobs, grad_entropies, ctx.temperature
    )
    return grad, None, None


_token_logprobs.register_autograd(_backward, setup_context=_setup_context)


def _readable(logits_MV: Tensor) -> Tensor:
    """Return the logits in a dtype that their device's kernels read."""
    wide = logits_MV.dtype == torch.float64 and logits_MV.is_cuda
    return logits_MV.float() if wide or logits_MV.dtype == torch.float16 else logits_MV


def token_logprobs(
    logits_MV: Tensor, tokens_M: Tensor, *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return each token's log-probability and its distribution's entropy; differentiable in both.

    One kernel reads the logits, on the CPU or on their GPU, and keeps no [M, V] temporary.

    Args:
        logits_MV: [M, V] float32, bfloat16, or on the CPU float64; read as a float32 copy: float16,
            and on a GPU float64.
        tokens_M: [M] int64 in [0, V), on the same device.
        temperature: divides the logits; > 0.

    Returns:
        logprobs_M: [M] float32 (on the CPU float64 for float64 logits), nats.
        entropies_M: the same, nats.

    Raises:
        ValueError: another shape, dtype or device, a token out of range, or temperature <= 0. On a
            GPU, whose values nobody waits for, a token out of range gives NaN.
    """
    logprobs_M, entropies_M, _ = _token_logprobs(_readable(logits_MV), tokens_M, temperature)
    return logprobs_M, entropies_M

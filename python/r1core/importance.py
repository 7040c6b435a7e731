"""Weights for tokens that another sampler drew: truncated and masked importance sampling."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Mode = Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]


def importance_weights(
    logprobs_NT: Tensor,
    sampler_logprobs_NT: Tensor,
    mask_NT: Tensor,
    *,
    mode: Mode = "token_truncate",
    clip_max: float = 3.0,
) -> Tensor:
    """Return pi_trainer / pi_sampler of each token, bounded (TRL's vllm_importance_sampling_mode).

    The factor that `grpo_loss` takes as `importance_weights`, for rollouts whose sampler computes
    other log-probabilities than the trainer does for the same weights.

    Args:
        logprobs_NT: [N, T] under the policy that sampled, as the trainer computes them.
        sampler_logprobs_NT: [N, T] as the sampler reported them; NaN where it did not: weight 1.
        mask_NT: [N, T] bool, tokens that count.
        mode: "token_*": one ratio per token; "sequence_*": the product over a row's tokens, for all
            of them. "*_truncate": held at clip_max (TIS); "*_mask": 0 above it (MIS).
        clip_max: largest ratio; > 0.

    Returns:
        [N, T] in the dtype of `logprobs_NT`, without a graph; 1 where the mask is False in the
        token modes.

    Raises:
        ValueError: an unknown mode, clip_max <= 0, or shapes that do not match.
    """
    if mode not in get_args(Mode):
        modes = ", ".join(get_args(Mode))
        raise ValueError(f"importance_weights: mode must be one of {modes}; got {mode}")
    if not clip_max > 0:
        raise ValueError(f"importance_weights: clip_max must be > 0; got {clip_max}")
    if not logprobs_NT.shape == sampler_logprobs_NT.shape == mask_NT.shape:
        shapes = [list(x.shape) for x in (logprobs_NT, sampler_logprobs_NT, mask_NT)]
        raise ValueError(f"importance_weights: tensors must have one shape [N, T]; got {shapes}")
    difference_NT = (logprobs_NT.detach() - sampler_logprobs_NT).where(mask_NT, 0).nan_to_num(nan=0)
    if mode.startswith("sequence"):
        difference_NT = difference_NT.sum(-1, keepdim=True).expand_as(difference_NT)
    ratio_NT = difference_NT.exp()
    if mode.endswith("truncate"):
        return ratio_NT.clamp(max=clip_max)
    return torch.where(ratio_NT > clip_max, 0, ratio_NT)


def distinct_ratios(weights_NT: Tensor, mask_NT: Tensor, mode: Mode) -> Tensor:
    """Return the weights that TRL's metrics count: one per masked token, or one per row."""
    if mode.startswith("sequence"):
        return weights_NT[mask_NT.any(-1)][:, 0]
    return weights_NT[mask_NT]

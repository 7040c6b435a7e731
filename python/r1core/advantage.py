"""Group-normalised advantages (DeepSeek-R1, equation 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from r1core import _C
from r1core.cuda import stream_of


@torch.library.custom_op("r1core::group_advantage", mutates_args=())
def _group_advantage(rewards: Tensor, scale: str, baseline: str, eps: float, ddof: int) -> Tensor:
    return _C.group_advantage(rewards, scale, baseline, eps, ddof, stream_of(rewards))


@_group_advantage.register_fake
def _(rewards: Tensor, scale: str, baseline: str, eps: float, ddof: int) -> Tensor:
    return torch.empty_like(rewards)


def group_advantage(
    rewards_PG: Tensor,
    *,
    scale: Literal["group", "batch", "none"] = "group",
    baseline: Literal["mean", "leave_one_out"] = "mean",
    eps: float = 1e-4,
    ddof: int = 1,
) -> Tensor:
    """Score each rollout against its own group (DeepSeek-R1, equation 3).

    Args:
        rewards_PG: [P, G] float32; G rewards for each of P prompts, NaN where a row is masked.
        scale: what the centred reward is divided by: the group's standard deviation (the paper),
            the batch's, or nothing (Dr. GRPO).
        baseline: what is subtracted: the group's mean, or the mean of the other answers (RLOO).
        eps: added to the standard deviation, in reward units; > 0.
        ddof: the standard deviation divides by count - ddof: 0 or 1.

    Returns:
        [P, G] float32 on the same device; exactly 0 where a group's rewards agree, where a reward
        is NaN, and in a group with fewer than two finite rewards.

    Raises:
        ValueError: another shape or dtype, or an option out of range.

    Note:
        The paper does not say which standard deviation; TRL's is the sample one (ddof 1).
    """
    advantages_PG: Tensor = _group_advantage(rewards_PG, scale, baseline, eps, ddof)
    return advantages_PG

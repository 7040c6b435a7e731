"""Generalized advantage estimation and the whitening that PPO applies to it.

Shapes: N completions, T positions. The value at a position is that of the state before its token.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gae(
    rewards_NT: Tensor,
    values_NT: Tensor,
    mask_NT: Tensor,
    *,
    gamma: float = 1.0,
    gae_lambda: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return each token's advantage and return (Schulman et al., arXiv 1506.02438, equation 16).

        delta_t = r_t + gamma V_{t+1} - V_t
        A_t     = delta_t + gamma lambda A_{t+1},    R_t = A_t + V_t

    lambda = 1 is the Monte-Carlo return less the value, lambda = 0 the error of the next value.

    Args:
        rewards_NT: [N, T] floating point, any device; of a rule reward all but the last are 0.
        values_NT: [N, T] the critic's, as they were when the rollouts were drawn.
        mask_NT: [N, T] bool, tokens that the policy drew; others are passed over, whatever they
            hold: a token's next state is that before the row's next masked token.
        gamma: discount, in (0, 1].
        gae_lambda: in [0, 1].

    Returns:
        Advantages and returns, both [N, T] float32 on the same device; 0 outside the mask.

    Raises:
        ValueError: shapes that do not match, a mask that is not bool, gamma or gae_lambda out of
            range.

    Note:
        A completion ends with its last masked token: the value after it is 0, also where the length
        limit cut it off. A rule graded the cut text, so that is its whole reward.
        The recursion runs in float64.
    """
    check_same_shape("gae", "[N, T]", rewards_NT=rewards_NT, values_NT=values_NT, mask_NT=mask_NT)
    if not 0 < gamma <= 1:
        raise ValueError(f"gae: gamma must be in (0, 1]; got {gamma}")
    if not 0 <= gae_lambda <= 1:
        raise ValueError(f"gae: gae_lambda must be in [0, 1]; got {gae_lambda}")
    rewards_NT, values_NT = rewards_NT.double(), values_NT.double()
    advantages_NT = torch.zeros_like(rewards_NT)
    next_advantage_N = next_value_N = rewards_NT.new_zeros(len(rewards_NT))
    for t in reversed(range(rewards_NT.shape[1])):
        counts_N = mask_NT[:, t]
        delta_N = rewards_NT[:, t] + gamma * next_value_N - values_NT[:, t]
        advantage_N = delta_N + gamma * gae_lambda * next_advantage_N
        advantages_NT[:, t] = advantage_N.where(counts_N, 0)
        next_advantage_N = advantage_N.where(counts_N, next_advantage_N)
        next_value_N = values_NT[:, t].where(counts_N, next_value_N)
    returns_NT = (advantages_NT + values_NT).where(mask_NT, 0)
    return advantages_NT.float(), returns_NT.float()


def whiten(values_NT: Tensor, mask_NT: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Shift and scale the masked values to mean 0 and variance 1 over the whole batch.

    What PPO does to advantages in TRL (`masked_whiten`) and verl.

    Args:
        values_NT: [N, T] floating point, any device.
        mask_NT: [N, T] bool, what counts.
        eps: added to the variance; > 0.

    Returns:
        [N, T] float32; 0 outside the mask, and everywhere if fewer than two values count.

    Raises:
        ValueError: shapes that do not match, a mask that is not bool, or eps <= 0.

    Note:
        The variance is the sample one (ddof 1), as in TRL. Moments are taken in float64.
    """
    check_same_shape("whiten", "[N, T]", values_NT=values_NT, mask_NT=mask_NT)
    if not eps > 0:
        raise ValueError(f"whiten: eps must be > 0; got {eps}")
    counted = values_NT[mask_NT].double()
    if len(counted) < 2:
        return torch.zeros_like(values_NT, dtype=torch.float32)
    scaled_NT = (values_NT.double() - counted.mean()) * (counted.var() + eps).rsqrt()
    return scaled_NT.where(mask_NT, 0).float()


def check_same_shape(function: str, shape: str, **tensors: Tensor) -> None:
    """Reject tensors of different shapes, and a mask that is not bool.

    Raises:
        ValueError: naming the function, the rule and what was given.
    """
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    if len(set(map(tuple, shapes.values()))) > 1 or any(len(s) != 2 for s in shapes.values()):
        raise ValueError(
            f"{function}: {', '.join(shapes)} must have one shape {shape}; got {shapes}"
        )
    mask = tensors["mask_NT"]
    if mask.dtype != torch.bool:
        raise ValueError(f"{function}: mask_NT must be bool; got {mask.dtype}")

"""What a critic learns from: the squared error of its values, and how much they explain.

Shapes: N completions, T positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from r1core.gae import check_same_shape


def value_loss(
    values_NT: Tensor,
    returns_NT: Tensor,
    mask_NT: Tensor,
    *,
    old_values_NT: Tensor | None = None,
    clip: float | None = None,
    tokens: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return half the mean squared error of the values, to be minimised.

        1/2 mean max((V - R)^2, (V_old + clamp(V - V_old, -clip, clip) - R)^2)

    The maximum only with `clip`, as in TRL and verl: values that moved further than `clip` from
    those of the rollouts, towards the return, have no gradient.

    Args:
        values_NT: [N, T] floating point, the critic's; differentiable.
        returns_NT: [N, T] from `gae`.
        mask_NT: [N, T] bool, tokens that count.
        old_values_NT: [N, T] the values when the rollouts were drawn; required with `clip`.
        clip: in units of the reward, > 0; None: plain squared error.
        tokens: divisor, the tokens of the whole optimizer step, so that micro-batches do not change
            the loss; None counts the mask.

    Returns:
        The scalar loss in the dtype of `values_NT`, and the share of `tokens` that is clipped.

    Raises:
        ValueError: shapes that do not match, a mask that is not bool, clip <= 0, or a clip without
            old values.
    """
    check_same_shape(
        "value_loss", "[N, T]", values_NT=values_NT, returns_NT=returns_NT, mask_NT=mask_NT
    )
    errors_NT = (values_NT - returns_NT).where(mask_NT, 0).square()
    divisor = max(1, int(mask_NT.sum()) if tokens is None else tokens)
    if clip is None:
        return errors_NT.sum() / (2 * divisor), values_NT.new_zeros(())
    if not clip > 0:
        raise ValueError(f"value_loss: clip must be > 0 or None; got {clip}")
    if old_values_NT is None:
        raise ValueError("value_loss: old_values_NT must be given with clip; got None")
    check_same_shape("value_loss", "[N, T]", old_values_NT=old_values_NT, mask_NT=mask_NT)
    held_NT = old_values_NT + (values_NT - old_values_NT).clamp(-clip, clip)
    held_errors_NT = (held_NT - returns_NT).where(mask_NT, 0).square()
    clipped = (held_errors_NT > errors_NT).sum() / divisor
    return torch.maximum(errors_NT, held_errors_NT).sum() / (2 * divisor), clipped


def explained_variance(values_NT: Tensor, returns_NT: Tensor, mask_NT: Tensor) -> float:
    """Return how much of the returns' variance the values explain: 1 - Var(R - V) / Var(R).

    Args:
        values_NT: [N, T] as they were when the returns were computed.
        returns_NT: [N, T] from `gae`. With lambda < 1 they contain the values themselves, which
            flatters the critic.
        mask_NT: [N, T] bool, tokens that count.

    Returns:
        At most 1; 0 for values that are constant; below 0 for values worse than that. NaN where the
        returns do not vary, or fewer than two tokens count.
    """
    check_same_shape(
        "explained_variance", "[N, T]", values_NT=values_NT, returns_NT=returns_NT, mask_NT=mask_NT
    )
    values, returns = values_NT[mask_NT].double(), returns_NT[mask_NT].double()
    if len(returns) < 2 or float(returns.var()) == 0:
        return float("nan")
    return float(1 - (returns - values).var() / returns.var())

"""The KL divergence to the reference as a penalty on the reward."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

KlEstimator = Literal["k1", "k2", "k3"]


def kl_penalty(
    logprobs_NT: Tensor,
    reference_logprobs_NT: Tensor,
    mask_NT: Tensor,
    *,
    estimator: KlEstimator = "k1",
) -> Tensor:
    """Return each completion's estimated KL(policy || reference), summed over its tokens.

    PPO's way to stay near the reference: the reward of a completion becomes reward - beta * KL
    before the advantages (DeepSeekMath, equation 2, whose per-token terms sum to this; TRL's RLOO).
    No gradient flows through it.

    Args:
        logprobs_NT: [N, T] under the policy that sampled.
        reference_logprobs_NT: [N, T] under the reference, from the same kind of forward pass.
        mask_NT: [N, T] bool, tokens that count.
        estimator: Schulman's k1 (log-ratio, PPO's), k2 or k3.

    Returns:
        [N] nats, in the dtype of `logprobs_NT`; 0 for a row without tokens.

    Raises:
        ValueError: an unknown estimator.
    """
    return token_kl(logprobs_NT, reference_logprobs_NT, mask_NT, estimator=estimator).sum(-1)


def token_kl(
    logprobs_NT: Tensor,
    reference_logprobs_NT: Tensor,
    mask_NT: Tensor,
    *,
    estimator: KlEstimator = "k1",
) -> Tensor:
    """Return each token's term of `kl_penalty`: what PPO takes from that token's reward.

    Args:
        logprobs_NT: as there.
        reference_logprobs_NT: as there.
        mask_NT: as there.
        estimator: as there.

    Returns:
        [N, T] nats, in the dtype of `logprobs_NT`; 0 outside the mask.

    Raises:
        ValueError: an unknown estimator.
    """
    difference_NT = (reference_logprobs_NT - logprobs_NT.detach()).where(mask_NT, 0)
    if estimator == "k1":
        return -difference_NT
    if estimator == "k2":
        return difference_NT.square() / 2
    if estimator == "k3":
        return difference_NT.expm1() - difference_NT
    raise ValueError(f"kl_penalty: estimator must be k1, k2 or k3; got {estimator}")

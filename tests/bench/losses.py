"""TRL's GRPO loss on packed rows, as plain torch; the inputs that the loss topics share.

Shapes: M packed completion tokens of N completions, T tokens each; V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

import r1core as r1

T = 64
BETA, EPSILON = 0.04, 0.2
CONFIG = r1.LossConfig(loss_type="dapo", epsilon=EPSILON, beta=BETA)


class Inputs(NamedTuple):
    """What a loss takes beside the logits.

    Attributes:
        tokens_M: int64, drawn ids.
        sequence_starts: int64 [N + 1].
        advantages_N: float32.
        reference_logprobs_M: float32.
    """

    tokens_M: Tensor
    sequence_starts: Tensor
    advantages_N: Tensor
    reference_logprobs_M: Tensor

    @classmethod
    def random(cls, logits_MV: Tensor) -> Inputs:
        """Return random tokens and advantages; the reference is 0.01 nats below the policy."""
        M, V = logits_MV.shape
        generator = torch.Generator().manual_seed(1)
        tokens_M = torch.randint(0, V, (M,), generator=generator)
        picked_M = logits_MV.gather(-1, tokens_M[:, None]).squeeze(-1).float()
        norm_M = torch.stack([row.float().logsumexp(-1) for row in logits_MV])
        return cls(
            tokens_M=tokens_M,
            sequence_starts=torch.arange(0, M + 1, T),
            advantages_N=torch.randn(M // T, generator=generator),
            reference_logprobs_M=picked_M - norm_M - 0.01,
        )


def trl_loss(logprobs_M: Tensor, inputs: Inputs) -> Tensor:
    """Return TRL's clipped surrogate with k3 KL, averaged over all tokens (its "dapo")."""
    logprobs_NT = logprobs_M.view(-1, T)
    advantages_N1 = inputs.advantages_N[:, None]
    ratio_NT = (logprobs_NT - logprobs_NT.detach()).exp()
    clipped_NT = ratio_NT.clamp(1 - EPSILON, 1 + EPSILON)
    policy_NT = -torch.min(ratio_NT * advantages_N1, clipped_NT * advantages_N1)
    difference_NT = inputs.reference_logprobs_M.view(-1, T) - logprobs_NT
    kl_NT = difference_NT.exp() - difference_NT - 1
    return (policy_NT + BETA * kl_NT).mean()

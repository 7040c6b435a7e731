"""What the three doors of the loss share: each token's weight, and the averages of a call.

Shapes: N completions, T positions, M packed tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from r1core import _C
from r1core.loss_config import LossConfig


class LossNormalizer(NamedTuple):
    """What the loss divides by, counted over all rows of an optimizer step.

    Attributes:
        loss: divides the token losses: completions for "grpo" and "sapo" (each a mean over its
            tokens), N * max_completion_length for "dr_grpo", tokens for the others.
        tokens: divides the sum of the entropies.
    """

    loss: float
    tokens: float


@dataclass(frozen=True)
class LossMetrics:
    """Averages over the masked tokens of one call.

    Attributes:
        policy_loss: the loss before the entropy bonus.
        kl: estimated KL divergence to the reference in nats, with its bias correction; None without
            a reference.
        low_clipped: share of tokens whose ratio was clipped from below; None for "cispo", "sapo".
        high_clipped: share of tokens whose ratio was clipped from above; for "cispo" capped, with a
            positive advantage; None for "sapo".
        tokens: masked tokens.
        entropy: of the distributions at the tokens, nats; None where they are not known.
    """

    policy_loss: float
    kl: float | None
    low_clipped: float | None
    high_clipped: float | None
    tokens: int
    entropy: float | None = None

    def as_dict(self) -> dict[str, float]:
        """Return TRL's metric names; the entropy is left to `Rollouts`, which has every row's."""
        metrics = {"policy_loss": self.policy_loss}
        if self.low_clipped is not None and self.high_clipped is not None:
            metrics |= {
                "clip_ratio/low_mean": self.low_clipped,
                "clip_ratio/low_min": self.low_clipped,
                "clip_ratio/high_mean": self.high_clipped,
                "clip_ratio/high_max": self.high_clipped,
                "clip_ratio/region_mean": self.low_clipped + self.high_clipped,
            }
        elif self.high_clipped is not None:
            metrics["cispo_clip_ratio"] = self.high_clipped
        return metrics if self.kl is None else metrics | {"kl": self.kl}


def loss_normalizer(mask_NT: Tensor, config: LossConfig) -> LossNormalizer:
    """Count what the loss divides by, from the mask of all rows of an optimizer step.

    Rows without a masked token do not count. At least 1, so that an empty step has loss 0.
    """
    return normalizer_of(mask_NT.sum(-1), mask_NT.shape[1], config)


def normalizer_of(tokens_N: Tensor, longest: int, config: LossConfig) -> LossNormalizer:
    """Do the same from each completion's number of masked tokens."""
    rows, tokens = int((tokens_N > 0).sum()), int(tokens_N.sum())
    divisor = tokens
    if config.averages_completions:
        divisor = rows
    elif config.loss_type == "dr_grpo":
        divisor = rows * (config.max_completion_length or longest)
    return LossNormalizer(float(max(1, divisor)), float(max(1, tokens)))


def row_weights(tokens_N: Tensor, normalizer: LossNormalizer, config: LossConfig) -> Tensor:
    """Return the weight of each token of a completion in the loss, float64 [N]."""
    weights_N = torch.full(tokens_N.shape, 1 / normalizer.loss, dtype=torch.float64)
    return weights_N / tokens_N.clamp(min=1).cpu() if config.averages_completions else weights_N


def check_shapes(
    function: str, axes: str, shape: tuple[int, ...], **tensors: Tensor | None
) -> None:
    """Raise ValueError where a tensor is given whose shape is not `shape`."""
    for name, tensor in tensors.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(
                f"{function}: {name} must be {axes} = {list(shape)}; got {list(tensor.shape)}"
            )


def check_mask(function: str, mask: Tensor) -> None:
    """Raise ValueError unless the mask is bool."""
    if mask.dtype != torch.bool:
        raise ValueError(f"{function}: mask must be bool; got {mask.dtype}")


def check_reference(function: str, reference_logprobs: Tensor | None, config: LossConfig) -> None:
    """Raise ValueError where the loss has a KL term and nothing to compare with."""
    if config.beta > 0 and reference_logprobs is None:
        raise ValueError(
            f"{function}: reference_logprobs must be given where beta > 0; got beta {config.beta}"
        )


@dataclass(frozen=True)
class PackedTokens:
    """The M packed tokens of N completions as the kernels read them.

    Attributes:
        starts: int64 [N + 1], offsets of the completions into M.
        advantages_M: of each token.
        weights_M: of each token in the loss, float64; 0 leaves it out.
        old_logprobs: [M] or None: the ratio is exactly 1. On any device, as the next two.
        reference_logprobs: [M] or None.
        importance_weights: [M] or None: 1.
        normalizer: over the optimizer step.
        config: the variant.
    """

    starts: Tensor
    advantages_M: Tensor
    weights_M: Tensor
    old_logprobs: Tensor | None
    reference_logprobs: Tensor | None
    importance_weights: Tensor | None
    normalizer: LossNormalizer
    config: LossConfig

    @property
    def entropy_weight(self) -> float:
        """What the loss loses per nat of a token's entropy."""
        return self.config.entropy_coef / self.normalizer.tokens

    def kernel_tokens(self, device: torch.device) -> _C.GrpoTokens:
        """Return them as the kernels take them, on their device."""
        return _C.GrpoTokens(
            self.starts,
            self.advantages_M,
            self.weights_M.to(device, non_blocking=True),  # the others follow
            self.old_logprobs,
            self.reference_logprobs,
            self.importance_weights,
        )

    def take(self, kept_K: Tensor) -> PackedTokens:
        """Return only the tokens of these ascending indices."""

        def pick(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[kept_K.to(tensor.device, non_blocking=True)]

        return replace(
            self,
            starts=torch.searchsorted(kept_K, self.starts),
            advantages_M=self.advantages_M[kept_K],
            weights_M=self.weights_M[kept_K],
            old_logprobs=pick(self.old_logprobs),
            reference_logprobs=pick(self.reference_logprobs),
            importance_weights=pick(self.importance_weights),
        )

    def loss(self, sums: Tensor) -> Tensor:
        """Return the loss with its entropy bonus, float32, from the kernels' sums."""
        loss = sums[0]
        if self.config.entropy_coef:
            loss = loss - self.entropy_weight * sums[5]
        return loss.float()

    def metrics(self, sums: Tensor) -> LossMetrics:
        """Return the averages of the call."""
        known = self.reference_logprobs is not None
        sums = sums.cpu()  # one wait for a GPU
        return metrics_of(sums, known, self.config, entropy_sum=float(sums[5]))


def pack_tokens(
    function: str,
    M: int,
    sequence_starts: Tensor,
    advantages: Tensor,
    *,
    mask: Tensor | None = None,
    old_logprobs: Tensor | None = None,
    reference_logprobs: Tensor | None = None,
    importance_weights: Tensor | None = None,
    normalizer: LossNormalizer | None = None,
    config: LossConfig,
) -> PackedTokens:
    """Check the arguments of a door from packed tokens and give each token its weight.

    Raises:
        ValueError: in the name of `function`: offsets or shapes that do not fit, or beta > 0
            without a reference.
    """
    # Tokens are counted on the CPU; what their kernel reads besides stays where it is.
    mask_M = torch.ones(M, dtype=torch.bool) if mask is None else mask.cpu()
    sequence_starts = sequence_starts.cpu()
    lengths_N = _lengths(function, M, sequence_starts)
    N = len(lengths_N)
    per_token = {
        "mask": mask_M,
        "old_logprobs": old_logprobs,
        "reference_logprobs": reference_logprobs,
        "importance_weights": importance_weights,
    }
    check_shapes(function, "[M]", (M,), **per_token)
    check_mask(function, mask_M)
    check_reference(function, reference_logprobs, config)
    if advantages.ndim != 1 or len(advantages) not in (N, M):
        raise ValueError(
            f"{function}: advantages must be [N] or [M] with N, M = {N}, {M}; "
            f"got {list(advantages.shape)}"
        )
    # Each token's completion. Not repeat_interleave, which wakes torch's threads for any size.
    row_M = sequence_starts[1:-1].bincount(minlength=M + 1)[:M].cumsum(0)
    advantages_M = advantages.detach().cpu()
    if len(advantages) == N:
        advantages_M = advantages_M[row_M]
    counted_M1 = torch.cat([torch.zeros(1, dtype=torch.int64), mask_M.cumsum(0)])
    tokens_N = counted_M1[sequence_starts].diff()
    if normalizer is None:
        normalizer = normalizer_of(tokens_N, int(lengths_N.max()) if N else 1, config)
    weights_N = row_weights(tokens_N, normalizer, config)
    return PackedTokens(
        starts=sequence_starts,
        advantages_M=advantages_M,
        weights_M=weights_N[row_M] * mask_M,
        old_logprobs=detached(old_logprobs),
        reference_logprobs=detached(reference_logprobs),
        importance_weights=detached(importance_weights),
        normalizer=normalizer,
        config=config,
    )


CROSS_ENTROPY = LossConfig(loss_type="cispo", epsilon_high=1.0)
"""Of one token: -advantage logprob, where the ratio is 1 and so is the advantage."""


def cross_entropy_tokens(M: int, count: int, mask: Tensor | None = None) -> PackedTokens:
    """Return M tokens whose loss is cross-entropy: the sum over them, divided by `count`.

    Args:
        M: tokens of this call.
        count: tokens of the whole optimizer step.
        mask: bool [M], tokens that count; None: all.
    """
    count = max(1, count)
    return pack_tokens(
        "cross_entropy_tokens",
        M,
        torch.tensor([0, M]),
        torch.ones(1),
        mask=mask,
        old_logprobs=None,
        reference_logprobs=None,
        importance_weights=None,
        normalizer=LossNormalizer(count, count),
        config=CROSS_ENTROPY,
    )


def _lengths(function: str, M: int, sequence_starts: Tensor) -> Tensor:
    """Return each completion's length, int64 [N]."""
    if (
        sequence_starts.ndim != 1
        or sequence_starts.dtype != torch.int64
        or not len(sequence_starts)
    ):
        raise ValueError(
            f"{function}: sequence_starts must be [N + 1] int64; "
            f"got {list(sequence_starts.shape)} {sequence_starts.dtype}"
        )
    lengths_N = sequence_starts.diff()
    if sequence_starts[0] != 0 or sequence_starts[-1] != M or (lengths_N < 0).any():
        raise ValueError(
            f"{function}: sequence_starts must rise from 0 to M = {M}; "
            f"got {sequence_starts.tolist()[:8]}"
        )
    return lengths_N


def detached(tensor: Tensor | None) -> Tensor | None:
    """Return the tensor without its graph; None stays None."""
    return None if tensor is None else tensor.detach()


def metrics_of(
    sums: Tensor, has_reference: bool, config: LossConfig, entropy_sum: float | None
) -> LossMetrics:
    """Return the averages from a kernel's sums: loss, kl, tokens, low- and high-clipped tokens."""
    loss, kl, tokens, low, high, _ = sums.tolist()
    counted = max(1.0, tokens)
    return LossMetrics(
        policy_loss=loss,
        kl=kl / counted if has_reference else None,
        low_clipped=None if config.loss_type in ("cispo", "sapo") else low / counted,
        high_clipped=None if config.loss_type == "sapo" else high / counted,
        tokens=int(tokens),
        entropy=None if entropy_sum is None else entropy_sum / counted,
    )

"""The GRPO loss and its variants, from log-probabilities (DeepSeek-R1, equations 1 and 2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from r1core import _C
from r1core.cuda import stream_of
from r1core.loss_config import LossConfig, LossType
from r1core.loss_tokens import (
    LossMetrics,
    LossNormalizer,
    check_mask,
    check_reference,
    check_shapes,
    detached,
    loss_normalizer,
    metrics_of,
    row_weights,
)

__all__ = [
    "LossConfig",
    "LossMetrics",
    "LossNormalizer",
    "LossType",
    "grpo_loss",
    "loss_normalizer",
]


@torch.library.custom_op("r1core::grpo_loss", mutates_args=())
def _grpo_loss(
    logprobs: Tensor,
    sequence_starts: Tensor,
    advantages: Tensor,
    weights: Tensor,
    old_logprobs: Tensor | None,
    reference_logprobs: Tensor | None,
    importance_weights: Tensor | None,
    surrogate: int,
    ratio_min: float,
    ratio_max: float,
    delta: float,
    sapo_temperature_pos: float,
    sapo_temperature_neg: float,
    beta: float,
    kl_estimator: int,
    bias_corrected_kl: bool,
    sequence_ratio: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    tokens = _C.GrpoTokens(
        sequence_starts,
        advantages,
        weights.to(logprobs.device),  # the others follow
        old_logprobs,
        reference_logprobs,
        importance_weights,
    )
    options = _C.GrpoLossOptions(
        surrogate,
        ratio_min,
        ratio_max,
        delta,
        sapo_temperature_pos,
        sapo_temperature_neg,
        beta,
        kl_estimator,
        bias_corrected_kl,
        sequence_ratio,
    )
    sums, gradient = _C.grpo_loss(logprobs, tokens, options, stream_of(logprobs))
    return sums[0].to(logprobs, copy=True), gradient.to(logprobs), sums


@_grpo_loss.register_fake
def _(logprobs: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    sums = logprobs.new_empty(6, dtype=torch.float64)
    gradient = torch.empty_like(logprobs, memory_format=torch.contiguous_format)
    return logprobs.new_empty(()), gradient, sums


def _setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, gradient, sums = output
    ctx.mark_non_differentiable(gradient, sums)
    ctx.save_for_backward(gradient)
    ctx.inputs = len(inputs)


def _backward(ctx: Any, grad_loss: Tensor, *_: Any) -> tuple[Any, ...]:
    (gradient,) = ctx.saved_tensors
    return (grad_loss * gradient, *(None,) * (ctx.inputs - 1))


_grpo_loss.register_autograd(_backward, setup_context=_setup_context)


def grpo_loss(
    logprobs: Tensor,
    advantages: Tensor,
    *,
    mask: Tensor,
    old_logprobs: Tensor | None = None,
    reference_logprobs: Tensor | None = None,
    importance_weights: Tensor | None = None,
    entropies: Tensor | None = None,
    normalizer: LossNormalizer | None = None,
    config: LossConfig,
) -> tuple[Tensor, LossMetrics]:
    """Return the clipped surrogate plus beta KL, to be minimised (DeepSeek-R1, equations 1 and 2).

    One pass gives the loss and its gradient with respect to `logprobs`; sums run in float64 in a
    fixed order.

    Args:
        logprobs: [N, T] float32 or float64, under the policy, on any device, where the loss then
            is; differentiable.
        advantages: [N], or [N, T] per token.
        mask: [N, T] bool, tokens that count.
        old_logprobs: [N, T] under the policy that sampled; None: the same policy, ratio exactly 1.
        reference_logprobs: [N, T] under the reference; required where config.beta > 0.
        importance_weights: [N, T] factors on the policy term, for rollouts from another sampler.
        entropies: [N, T] nats, differentiable; required where config.entropy_coef is not 0.
        normalizer: `loss_normalizer` of the whole optimizer step, so that accumulation over
            micro-batches does not change the loss; None counts this call.
        config: the variant.

    Returns:
        The scalar loss, and averages for the log.

    Raises:
        ValueError: shapes that do not match, beta > 0 without a reference, or an entropy_coef
            without entropies.

    Note:
        Rows without a masked token leave every denominator; TRL counts them where it averages over
        completions. Weights are per call: rows that other code dropped must be in `normalizer`.
    """
    advantages_NT = _check(
        logprobs, advantages, mask, old_logprobs, reference_logprobs, importance_weights, config
    )
    check_shapes("grpo_loss", "[N, T]", tuple(logprobs.shape), entropies=entropies)
    if config.entropy_coef != 0 and entropies is None:
        raise ValueError("grpo_loss: entropies must be given where entropy_coef is not 0; got None")
    N, T = logprobs.shape
    tokens_N = mask.sum(-1)
    if normalizer is None:
        normalizer = loss_normalizer(mask, config)
    weights_N = row_weights(tokens_N, normalizer, config)
    loss, _, sums = _grpo_loss(
        logprobs,
        torch.arange(N + 1) * T,
        advantages_NT.detach(),
        weights_N[:, None] * mask.cpu(),
        detached(old_logprobs),
        detached(reference_logprobs),
        detached(importance_weights),
        *config.options(),
    )
    entropy = None
    if entropies is not None:
        entropy = entropies.where(mask.to(entropies.device), 0).sum()
        if config.entropy_coef != 0:
            loss = loss - config.entropy_coef / normalizer.tokens * entropy
    return loss, _metrics(sums, reference_logprobs is not None, config, entropy)


def _check(
    logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    old_logprobs: Tensor | None,
    reference_logprobs: Tensor | None,
    importance_weights: Tensor | None,
    config: LossConfig,
) -> Tensor:
    """Reject what does not fit; return the advantages per token."""
    function = "grpo_loss"
    if logprobs.ndim != 2:
        raise ValueError(f"{function}: logprobs must be [N, T]; got {list(logprobs.shape)}")
    per_token = {
        "mask": mask,
        "old_logprobs": old_logprobs,
        "reference_logprobs": reference_logprobs,
        "importance_weights": importance_weights,
    }
    check_shapes(function, "[N, T]", tuple(logprobs.shape), **per_token)
    check_mask(function, mask)
    check_reference(function, reference_logprobs, config)
    N, T = logprobs.shape
    if tuple(advantages.shape) not in ((N,), (N, T)):
        raise ValueError(
            f"{function}: advantages must be [N] or [N, T] with N, T = {N}, {T}; "
            f"got {list(advantages.shape)}"
        )
    return advantages if advantages.ndim == 2 else advantages[:, None].expand(N, T)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # reads the sums' values
def _metrics(
    sums: Tensor, has_reference: bool, config: LossConfig, entropy: Tensor | None
) -> LossMetrics:
    entropy_sum = None if entropy is None else float(entropy.detach())
    return metrics_of(sums, has_reference, config, entropy_sum)

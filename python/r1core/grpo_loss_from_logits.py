"""The GRPO loss from logits: one pass over them, the gradient written in their place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.autograd.graph import increment_version

from r1core import _C
from r1core.cuda import stream_of
from r1core.loss_config import LossConfig
from r1core.loss_tokens import LossMetrics, LossNormalizer, PackedTokens, pack_tokens


class _FromLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits_MV: Tensor, ids_M: Tensor, packed: PackedTokens, temperature: float
    ) -> tuple[Tensor, Tensor]:
        gradient_MV = logits_MV.contiguous()  # the logits themselves, unless they have strides
        sums = _run(gradient_MV, ids_M, packed, temperature, in_place=True)
        increment_version(gradient_MV)
        ctx.save_for_backward(gradient_MV)
        ctx.mark_non_differentiable(sums)
        return packed.loss(sums), sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_MV,) = ctx.saved_tensors
        return scale_in_place(gradient_MV, grad_loss), None, None, None


def scale_in_place(gradient: Tensor, grad_loss: Tensor) -> Tensor:
    """Return the saved gradient times `grad_loss`, in its own memory.

    Its version rises, so that a second backward pass is an error instead of a second scaling.
    """
    scaled = gradient.detach()
    increment_version(scaled)
    return scaled if grad_loss == 1 else scaled.mul_(grad_loss)


def _run(
    logits_MV: Tensor, ids_M: Tensor, packed: PackedTokens, temperature: float, *, in_place: bool
) -> Tensor:
    return _C.grpo_loss_from_logits(
        logits_MV.detach(),
        ids_M,
        packed.kernel_tokens(logits_MV.device),
        packed.config.kernel_options(),
        temperature,
        packed.entropy_weight,
        in_place,
        stream_of(logits_MV),
    )


@torch.compiler.disable  # type: ignore[untyped-decorator]  # writes over its argument
def grpo_loss_from_logits(
    logits_MV: Tensor,
    tokens_M: Tensor,
    sequence_starts: Tensor,
    advantages: Tensor,
    *,
    mask: Tensor | None = None,
    old_logprobs: Tensor | None = None,
    reference_logprobs: Tensor | None = None,
    importance_weights: Tensor | None = None,
    temperature: float = 1.0,
    normalizer: LossNormalizer | None = None,
    config: LossConfig,
) -> tuple[Tensor, LossMetrics]:
    """Return `grpo_loss` of the tokens' log-probabilities, without any [M, V] temporary.

    Where the logits require grad **their memory is overwritten by their gradient**: neither they
    nor what was saved of them for another backward pass can be used afterwards (autograd says so).
    Without grad they are only read. Under torch.compile the call breaks the graph.

    Args:
        logits_MV: [M, V] float32 or bfloat16, on any device, of N completions packed one after the
            other; differentiable. Strided logits are copied first.
        tokens_M: [M] int64 in [0, V), the tokens that were sampled, on the same device.
        sequence_starts: [N + 1] int64 offsets of the completions into M, from 0 to M, on
            any device; they are checked on the CPU.
        advantages: [N], or [M] per token; where N = M, the completions'.
        mask: [M] bool, tokens that count; None: all. The logits of the others may hold anything.
        old_logprobs: [M] under the policy that sampled; None: the same policy, ratio exactly 1.
        reference_logprobs: [M] under the reference; required where config.beta > 0.
        importance_weights: [M] factors on the policy term, for rollouts from another sampler.
        temperature: divides the logits; > 0.
        normalizer: `loss_normalizer` of the whole optimizer step; None counts this call.
        config: the variant.

    Returns:
        The scalar loss, float32, and averages for the log, the entropy among them.

    Raises:
        ValueError: shapes, dtypes or offsets that do not fit, a token out of range (on a GPU its
            loss is NaN instead), or beta > 0 without a reference.

    Note:
        The bits are those of `token_logprobs` and `grpo_loss` in a row, for any number of threads.
    """
    packed = pack_tokens(
        "grpo_loss_from_logits",
        len(tokens_M),
        sequence_starts,
        advantages,
        mask=mask,
        old_logprobs=old_logprobs,
        reference_logprobs=reference_logprobs,
        importance_weights=importance_weights,
        normalizer=normalizer,
        config=config,
    )
    if torch.is_grad_enabled() and logits_MV.requires_grad:
        loss, sums = _FromLogits.apply(  # type: ignore[no-untyped-call]
            logits_MV, tokens_M, packed, temperature
        )
    else:
        sums = _run(logits_MV, tokens_M, packed, temperature, in_place=False)
        loss = packed.loss(sums)
    return loss, packed.metrics(sums)

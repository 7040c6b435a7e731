"""The GRPO loss from hidden states and the language model's head, in chunks under a byte budget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r1core import _C
from r1core.cuda import stream_of
from r1core.grpo_loss_from_logits import scale_in_place
from r1core.loss_config import LossConfig
from r1core.loss_tokens import LossMetrics, LossNormalizer, PackedTokens, pack_tokens

CPU_BUDGET, GPU_BUDGET = 256 * 2**20, 4 * 2**30
"""Bytes of a chunk of logits."""

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]


class _FromHidden(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MH: Tensor,
        lm_head_VH: Tensor,
        lm_head_bias: Tensor | None,
        ids_M: Tensor,
        packed: PackedTokens,
        temperature: float,
        budget_bytes: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        head = (lm_head_VH, lm_head_bias)
        wanted = ctx.needs_input_grad[:3]
        sums, logprobs_M, gradients = _run(
            hidden_MH, head, ids_M, packed, temperature, budget_bytes, wanted
        )
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(sums, logprobs_M)
        return packed.loss(sums), sums, logprobs_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (
            None if gradient is None else scale_in_place(gradient, grad_loss)
            for gradient in ctx.saved_tensors
        )
        return (*scaled, None, None, None, None)


def _run(
    hidden_MH: Tensor,
    head: tuple[Tensor, Tensor | None],
    ids_M: Tensor,
    packed: PackedTokens,
    temperature: float,
    budget_bytes: int,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Gradients]:
    """Return the kernels' sums, log-probabilities and the wanted gradients.

    Only tokens that count are run; the others have 0 of both.
    """
    counted_M = packed.weights_M != 0
    kept_K = None if counted_M.all() else counted_M.nonzero().flatten()
    M, H = hidden_MH.shape
    hidden_KH, ids_K = hidden_MH.detach(), ids_M
    if kept_K is not None:
        packed = packed.take(kept_K)
        kept_K = kept_K.to(hidden_MH.device, non_blocking=True)
        hidden_KH, ids_K = hidden_KH[kept_K], ids_M[kept_K]
    weight_VH, bias_V = head
    sums, logprobs_M, grad_hidden, grad_weight, grad_bias = _C.grpo_loss_from_hidden(
        hidden_KH,
        weight_VH.detach(),
        None if bias_V is None else bias_V.detach(),
        ids_K,
        packed.kernel_tokens(hidden_MH.device),
        packed.config.kernel_options(),
        temperature,
        packed.entropy_weight,
        budget_bytes,
        *wanted,
        stream_of(hidden_MH),
    )
    if kept_K is not None:
        logprobs_M = logprobs_M.new_zeros(M).index_copy_(0, kept_K, logprobs_M)
        if grad_hidden is not None:
            grad_hidden = grad_hidden.new_zeros(M, H).index_copy_(0, kept_K, grad_hidden)
    return sums, logprobs_M, (grad_hidden, grad_weight, grad_bias)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # computes gradients in its forward
def packed_loss_from_hidden(
    hidden_MH: Tensor,
    lm_head_VH: Tensor,
    lm_head_bias: Tensor | None,
    tokens_M: Tensor,
    packed: PackedTokens,
    temperature: float = 1.0,
    *,
    budget_bytes: int | None = None,
) -> tuple[Tensor, LossMetrics, Tensor]:
    """Do what `grpo_loss_from_hidden` does, of tokens that are packed already.

    Returns:
        loss, metrics, and logprobs_M: float32, nats, without a graph; 0 where a token does not
        count.
    """
    factors = (hidden_MH, lm_head_VH, lm_head_bias)
    budget_bytes = budget_or_default(budget_bytes, hidden_MH)
    rest = (tokens_M, packed, temperature, budget_bytes)
    if torch.is_grad_enabled() and any(f is not None and f.requires_grad for f in factors):
        loss, sums, logprobs_M = _FromHidden.apply(  # type: ignore[no-untyped-call]
            *factors, *rest
        )
    else:
        sums, logprobs_M, _ = _run(hidden_MH, factors[1:], *rest, (False, False, False))
        loss = packed.loss(sums)
    return loss, packed.metrics(sums), logprobs_M


def budget_or_default(budget_bytes: int | None, hidden_MH: Tensor) -> int:
    """Return the bytes of a chunk of logits; if None, the default of the device."""
    if budget_bytes is None:
        return GPU_BUDGET if hidden_MH.is_cuda else CPU_BUDGET
    return budget_bytes


def _check_rows(hidden_MH: Tensor, tokens_M: Tensor) -> None:
    """Check what the choice of rows that count relies on; the kernels' side checks the rest."""
    if hidden_MH.ndim != 2 or tokens_M.ndim != 1 or len(hidden_MH) != len(tokens_M):
        raise ValueError(
            "grpo_loss_from_hidden: hidden must be [M, H] and tokens [M]; "
            f"got {list(hidden_MH.shape)} and {list(tokens_M.shape)}"
        )
    if hidden_MH.device != tokens_M.device:
        raise ValueError(
            f"grpo_loss_from_hidden: tokens must be on {hidden_MH.device} as hidden is; "
            f"got {tokens_M.device}"
        )


def grpo_loss_from_hidden(
    hidden_MH: Tensor,
    lm_head_VH: Tensor,
    tokens_M: Tensor,
    sequence_starts: Tensor,
    advantages: Tensor,
    *,
    lm_head_bias: Tensor | None = None,
    mask: Tensor | None = None,
    old_logprobs: Tensor | None = None,
    reference_logprobs: Tensor | None = None,
    importance_weights: Tensor | None = None,
    temperature: float = 1.0,
    normalizer: LossNormalizer | None = None,
    config: LossConfig,
    budget_bytes: int | None = None,
) -> tuple[Tensor, LossMetrics]:
    """Return `grpo_loss_from_logits` of hidden @ lm_head^T + bias, whose logits are never whole.

    Chunks of rows: logits, their gradient in place, then the gradients of the factors, all in the
    forward pass; the backward pass only scales them. A factor that requires no grad costs no
    product; logits keep float32's precision, for a bfloat16 factor is read as float32, or both go
    through a GPU's matrix units, which add up in float32. With a ratio per sequence and more than
    one chunk the logits are computed twice. Under torch.compile the call breaks the graph.

    Args:
        hidden_MH: [M, H] float32 or bfloat16, on any device; differentiable.
        lm_head_VH: [V, H] float32 or bfloat16; differentiable, also where it is tied.
        tokens_M: [M] int64 in [0, V), the tokens that were sampled.
        sequence_starts: [N + 1] int64 offsets of the completions into M, from 0 to M.
        advantages: [N], or [M] per token; where N = M, the completions'.
        lm_head_bias: [V]; differentiable.
        mask: [M] bool, tokens that count; None: all. The others are not run.
        old_logprobs: [M] under the policy that sampled; None: the same policy, ratio exactly 1.
        reference_logprobs: [M] under the reference; required where config.beta > 0.
        importance_weights: [M] factors on the policy term, for rollouts from another sampler.
        temperature: divides the logits; > 0.
        normalizer: `loss_normalizer` of the whole optimizer step; None counts this call.
        config: the variant.
        budget_bytes: most memory for a chunk of float32 logits (on a GPU with their bfloat16
            gradient, if so), at least one row; > 0. None takes 256 MB on the CPU and on a GPU 4 GB,
            for smaller products do not fill one. The gradients of the factors, and a bfloat16
            head's sum over chunks in float32, come on top.

    Returns:
        The scalar loss, float32, and averages for the log, the entropy among them.

    Raises:
        ValueError: shapes, dtypes or offsets that do not fit, a token out of range, or beta > 0
            without a reference.

    Note:
        The same bits in every run with the same number of threads (the products are the BLAS's);
        another budget changes the order of its sums.
    """
    _check_rows(hidden_MH, tokens_M)
    packed = pack_tokens(
        "grpo_loss_from_hidden",
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
    loss, metrics, _ = packed_loss_from_hidden(
        hidden_MH,
        lm_head_VH,
        lm_head_bias,
        tokens_M,
        packed,
        temperature,
        budget_bytes=budget_bytes,
    )
    return loss, metrics

"""A loss over the engine's head, whose logits are computed once for their gradient too.

Shapes: N completions, M completion tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r1core import _C, torch_threads
from r1core.decoder_spec import head_parameters, head_spec
from r1core.grpo_loss_from_logits import scale_in_place
from r1core.loss_tokens import LossMetrics, PackedTokens
from r1core.native_forward import like

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _HeadLoss(torch.autograd.Function):
    """The gradients are there with the loss; the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_MH: Tensor,
        head: _C.Linear,
        tokens_M: Tensor,
        packed: PackedTokens,
        temperature: float,
        threads: int,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sums, logprobs_M, gradients = _C.head_loss(
            head,
            hidden_MH,
            tokens_M,
            packed.kernel_tokens(hidden_MH.device),
            packed.config.kernel_options(),
            temperature,
            packed.entropy_weight,
            [ctx.needs_input_grad[0], *ctx.needs_input_grad[6:]],
            threads,
        )
        ctx.save_for_backward(*like(gradients, [hidden_MH, *parameters]))
        ctx.mark_non_differentiable(sums, logprobs_M)
        return packed.loss(sums), sums, logprobs_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        torch_threads.accumulate_on_one_thread(
            [gradient for gradient in saved if gradient is not None]
        )
        grad_hidden_MH, *gradients = (
            None if gradient is None else scale_in_place(gradient, grad_loss) for gradient in saved
        )
        return (grad_hidden_MH, None, None, None, None, None, *gradients)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # runs outside of torch
def head_loss(
    model: PreTrainedModel,
    hidden_MH: Tensor,
    tokens_M: Tensor,
    packed: PackedTokens,
    temperature: float = 1.0,
    *,
    threads: int | None = None,
) -> tuple[Tensor, LossMetrics, Tensor]:
    """Return the loss of tokens by the language model's head; differentiable.

    What `native_forward.head_logprobs` and `grpo_loss` return, whose backward pass computes the
    logits a second time. Here each row of logits becomes its gradient while it is at hand, and so
    do the gradients of hidden states and head; the backward pass scales them in place, hence there
    is one.

    Args:
        model: of the engine's table, on the CPU.
        hidden_MH: from `native_forward.completion_hidden`, float32.
        tokens_M: int64.
        packed: what the loss depends on besides; with a ratio per token.
        temperature: divides the logits; > 0.
        threads: None takes torch's.

    Returns:
        The scalar loss, float32; averages for the log; and logprobs_M, float32, without a graph:
        the sampler's bits, 0 where a token does not count.

    Raises:
        ValueError: a ratio per sequence, or tensors that do not fit.

    Note:
        The bits of those two steps, but for two sums: the loss adds entropies in float64, and a
        head's bias takes tokens without a gradient into its order of rows.
    """
    loss, sums, logprobs_M = _HeadLoss.apply(  # type: ignore[no-untyped-call]
        hidden_MH.contiguous(),
        head_spec(model),
        tokens_M,
        packed,
        temperature,
        torch_threads.available() if threads is None else threads,
        *head_parameters(model),
    )
    return loss, packed.metrics(sums), logprobs_M

"""Log-probabilities from hidden states and the language model's head, in chunks of rows.

Shapes: M tokens, H hidden size, V vocabulary, C tokens of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r1core import _C
from r1core.cuda import stream_of
from r1core.grpo_loss_from_hidden import budget_or_default


class _Head:
    """The products of logits = hidden W^T + bias and of their gradients.

    Each is in float32, as `grpo_loss_from_hidden` has it: two bfloat16 factors on a GPU go through
    its matrix units, which add up in float32; any others are read as float32.
    """

    def __init__(self, hidden_MH: Tensor, lm_head_VH: Tensor, lm_head_bias: Tensor | None) -> None:
        self.narrow = hidden_MH.is_cuda and hidden_MH.dtype == lm_head_VH.dtype == torch.bfloat16
        dtype = torch.bfloat16 if self.narrow else torch.float32
        self.hidden_MH, self.weight_VH = hidden_MH.detach().to(dtype), lm_head_VH.detach().to(dtype)
        self.bias_V = None if lm_head_bias is None else lm_head_bias.detach().float()

    def chunks(self, budget_bytes: int) -> Iterator[slice]:
        """Yield rows whose logits, and as much again for their gradient, fit the budget."""
        rows = max(1, budget_bytes // (2 * 4 * len(self.weight_VH)))
        for first in range(0, len(self.hidden_MH), rows):
            yield slice(first, first + rows)

    def product(self, one: Tensor, other: Tensor) -> Tensor:
        if self.narrow:
            return torch.mm(one.bfloat16(), other, out_dtype=torch.float32)
        return torch.mm(one, other)

    def add_product(self, out: Tensor, one: Tensor, other: Tensor) -> None:
        if self.narrow:
            torch.addmm(out, one.bfloat16(), other, out_dtype=torch.float32, out=out)
        else:
            out.addmm_(one, other)

    def logits(self, rows: slice) -> Tensor:
        logits_CV = self.product(self.hidden_MH[rows], self.weight_VH.t())
        return logits_CV if self.bias_V is None else logits_CV.add_(self.bias_V)


class _FromHidden(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MH: Tensor,
        lm_head_VH: Tensor,
        lm_head_bias: Tensor | None,
        tokens_M: Tensor,
        temperature: float,
        budget_bytes: int,
    ) -> tuple[Tensor, Tensor]:
        head, stream = _Head(hidden_MH, lm_head_VH, lm_head_bias), stream_of(hidden_MH)
        scores = hidden_MH.new_empty(2, len(hidden_MH), dtype=torch.float32)
        statistics_M3 = hidden_MH.new_empty(len(hidden_MH), 3, dtype=torch.float64)
        for rows in head.chunks(budget_bytes):
            scores[0, rows], scores[1, rows], statistics_M3[rows] = _C.token_logprobs(
                head.logits(rows), tokens_M[rows], temperature, stream
            )
        ctx.save_for_backward(hidden_MH, lm_head_VH, lm_head_bias, tokens_M, statistics_M3)
        ctx.temperature, ctx.budget_bytes = temperature, budget_bytes
        return scores[0], scores[1]

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_logprobs_M: Tensor, grad_entropies_M: Tensor
    ) -> tuple[Tensor | None, ...]:
        *factors, tokens_M, statistics_M3 = ctx.saved_tensors
        head, stream = _Head(*factors), stream_of(factors[0])
        gradients = [
            torch.zeros_like(factor, dtype=torch.float32) if wanted else None
            for factor, wanted in zip(factors, ctx.needs_input_grad[:3], strict=True)
        ]
        hidden_MH, weight_VH, bias_V = gradients
        for rows in head.chunks(ctx.budget_bytes):
            grad_CV = _C.token_logprobs_backward(
                head.logits(rows),
                tokens_M[rows],
                statistics_M3[rows],
                grad_logprobs_M[rows].contiguous(),
                grad_entropies_M[rows].contiguous(),
                ctx.temperature,
                stream,
            )
            if hidden_MH is not None:
                hidden_MH[rows] = head.product(grad_CV, head.weight_VH)
            if weight_VH is not None:
                head.add_product(weight_VH, grad_CV.t(), head.hidden_MH[rows])
            if bias_V is not None:
                bias_V += grad_CV.sum(0)
            del grad_CV  # before the next
        return (
            *(
                None if gradient is None else gradient.to(factor.dtype)
                for gradient, factor in zip(gradients, factors, strict=True)
            ),
            *(None,) * 3,
        )


@torch.compiler.disable  # type: ignore[untyped-decorator]  # its chunks follow from the budget
def logprobs_from_hidden(
    hidden_MH: Tensor,
    lm_head_VH: Tensor,
    tokens_M: Tensor,
    *,
    lm_head_bias: Tensor | None = None,
    temperature: float = 1.0,
    budget_bytes: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return `token_logprobs` of hidden @ lm_head^T + bias, whose logits are never whole.

    The backward pass computes them again, chunk by chunk. They are float32 whatever the factors
    are, as those of `grpo_loss_from_hidden`: its ratios compare what is alike.

    Args:
        hidden_MH: [M, H] float32 or bfloat16, on any device; differentiable.
        lm_head_VH: [V, H], the same; differentiable, also where it is tied.
        tokens_M: [M] int64 in [0, V), on the same device.
        lm_head_bias: [V]; differentiable.
        temperature: divides the logits; > 0.
        budget_bytes: most memory for a chunk of logits and their gradient, at least one row; None
            takes 256 MB on the CPU and 4 GB on a GPU.

    Returns:
        logprobs_M: [M] float32, nats.
        entropies_M: the same, nats.

    Raises:
        ValueError: another shape, dtype or device, a token out of range, or temperature <= 0.
    """
    scored: tuple[Tensor, Tensor] = _FromHidden.apply(  # type: ignore[no-untyped-call]
        hidden_MH,
        lm_head_VH,
        lm_head_bias,
        tokens_M,
        temperature,
        budget_or_default(budget_bytes, hidden_MH),
    )
    return scored

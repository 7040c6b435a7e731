"""The decoder as one differentiable function: the engine's kernels, and their gradients.

Shapes: N rollouts, M completion tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r1core import _C, torch_threads
from r1core.decoder_spec import decoder_parameters, head_parameters, head_spec, headless_spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class DecoderTable:
    """What lies below a model's head, as it is now.

    Attributes:
        spec: the engine's table of it.
        parameters: the module's own, in the order of `_C.parameters_of`.
        padding_idx: the token whose embedding has no gradient, or None.
        versions: of the parameters; the spec holds copies of vectors that are not float32.
    """

    spec: _C.DecoderSpec
    parameters: list[Tensor]
    padding_idx: int | None
    versions: list[int]

    @classmethod
    def of(cls, model: PreTrainedModel) -> DecoderTable:
        """Return the table of a model that it describes; see `r1core.decoder_spec`."""
        parameters = decoder_parameters(model)
        padding_idx = model.model.embed_tokens.padding_idx
        return cls(headless_spec(model), parameters, padding_idx, _versions(parameters))

    @cached_property
    def fingerprint(self) -> int:
        """A number that the weights give: those of one number compute the same."""
        return _C.fingerprint(self.spec)


def _versions(parameters: Sequence[Tensor]) -> list[int]:
    return [parameter._version for parameter in parameters]


class _CompletionHidden(torch.autograd.Function):
    """Hidden states from the parameters, which autograd then gives their gradients."""

    @staticmethod
    def forward(
        ctx: Any, forward: _C.Forward, padding_idx: int | None, *parameters: Tensor
    ) -> Tensor:
        # Autograd frees saved tensors after the backward pass, and nothing else; so one of them
        # carries the activations. It also sees parameters that change in between.
        tape = torch.empty(0)
        tape.forward = forward  # type: ignore[attr-defined]
        ctx.save_for_backward(tape, *parameters)
        ctx.padding_idx = padding_idx
        return forward.run()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_hidden_MH: Tensor) -> tuple[Tensor | None, ...]:
        tape, *parameters = ctx.saved_tensors
        torch_threads.accumulate_on_one_thread(parameters)
        wanted = list(ctx.needs_input_grad[2:])
        gradients = tape.forward.backward(grad_hidden_MH.contiguous(), wanted)
        if ctx.padding_idx is not None and gradients[0] is not None:
            gradients[0][ctx.padding_idx] = 0  # as torch's Embedding has it
        return (None, None, *like(gradients, parameters))


class _HeadLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MH: Tensor,
        head: _C.Linear,
        tokens_M: Tensor,
        temperature: float,
        threads: int,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        logprobs_M, entropies_M, statistics = _C.head_logprobs(
            head, hidden_MH, tokens_M, temperature, threads
        )
        ctx.head, ctx.temperature, ctx.threads = head, temperature, threads
        ctx.save_for_backward(hidden_MH, tokens_M, statistics, *parameters)
        return logprobs_M, entropies_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logprobs_M: Tensor, grad_entropies_M: Tensor) -> tuple[Any, ...]:
        hidden_MH, tokens_M, statistics, *parameters = ctx.saved_tensors
        torch_threads.accumulate_on_one_thread(parameters)
        grad_hidden_MH, *gradients = _C.head_logprobs_backward(
            ctx.head,
            hidden_MH,
            tokens_M,
            statistics,
            grad_logprobs_M.contiguous(),
            grad_entropies_M.contiguous(),
            ctx.temperature,
            [ctx.needs_input_grad[0], *ctx.needs_input_grad[5:]],
            ctx.threads,
        )
        return (grad_hidden_MH, None, None, None, None, *like(gradients, parameters))


def like(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """Return float32 gradients in their parameters' dtypes."""
    return [
        None if gradient is None else gradient.to(parameter.dtype)
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]


@torch.compiler.disable  # type: ignore[untyped-decorator]  # runs outside of torch
def completion_hidden(
    table: DecoderTable,
    sequences: Sequence[Tensor],
    prompt_lengths: Sequence[int],
    *,
    gradient_checkpointing: bool = False,
    trace: _C.Trace | None = None,
    threads: int | None = None,
) -> Tensor:
    """Return the final hidden state before each completion token; differentiable.

    Sequences lie packed, and consecutive ones with one prompt compute it once. The kernels are the
    engine's: the same bits as when it drew the tokens, whatever is packed beside them. Gradients
    reach `.grad` through autograd; they do not depend on the number of threads.

    Args:
        table: of the model, on the CPU.
        sequences: prompt and completion, int64 [length], CPU.
        prompt_lengths: tokens of each that are its prompt, >= 1.
        gradient_checkpointing: keep each layer's input alone; the rest is computed again.
        trace: spares what it holds of these sequences, if these weights made it; no bit differs.
        threads: None takes torch's.

    Returns:
        hidden_MH: float32, after the final norm; sequence by sequence.

    Raises:
        ValueError: a sequence is empty, holds an unknown id, or is too long for the context.
        RuntimeError: the weights have changed since the table was made.
    """
    if _versions(table.parameters) != table.versions:
        raise RuntimeError("completion_hidden: table is of weights that have changed since")
    torch_threads.end_backward()  # a backward pass that was interrupted kept them
    trained = torch.is_grad_enabled() and any(p.requires_grad for p in table.parameters)
    keep = _C.Keep.layers if gradient_checkpointing else _C.Keep.all
    keep = keep if trained else _C.Keep.nothing
    # Only a pass that keeps its activations reads a trace: no other need know the weights.
    recalls = trace is not None and keep == _C.Keep.all and trace.fingerprint == table.fingerprint
    forward = _C.Forward(
        table.spec,
        [sequence.contiguous() for sequence in sequences],
        list(prompt_lengths),
        keep,
        torch_threads.available() if threads is None else threads,
        trace if recalls else None,
    )
    hidden_MH: Tensor = _CompletionHidden.apply(  # type: ignore[no-untyped-call]
        forward, table.padding_idx, *table.parameters
    )
    return hidden_MH


@torch.compiler.disable  # type: ignore[untyped-decorator]  # runs outside of torch
def head_logprobs(
    model: PreTrainedModel,
    hidden_MH: Tensor,
    tokens_M: Tensor,
    temperature: float = 1.0,
    *,
    threads: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Score tokens by the language model's head; differentiable.

    Args:
        model: of the engine's table, on the CPU.
        hidden_MH: from `completion_hidden`, float32.
        tokens_M: int64.
        temperature: divides the logits; > 0.
        threads: None takes torch's.

    Returns:
        logprobs_M, entropies_M: float32, nats.
    """
    parameters = head_parameters(model)
    scored: tuple[Tensor, Tensor] = _HeadLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden_MH.contiguous(),
        head_spec(model),
        tokens_M,
        temperature,
        torch_threads.available() if threads is None else threads,
        *parameters,
    )
    return scored

"""The trainer's forward pass: what a model makes of each completion token, and of no other.

Where the engine's table describes the model, the engine's own kernels run it: the same bits as when
the tokens were drawn. Elsewhere the module's own forward does (`hf_forward`), but for its head, as
far as that is a matrix and no more (`hf_head`): logits of a chunk of tokens at a time, float32.

Shapes: N rollouts, M completion tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from r1core import hf_forward, native_forward, native_loss, torch_threads
from r1core.decoder_spec import unsupported_decoder_reason
from r1core.grpo_loss_from_hidden import packed_loss_from_hidden
from r1core.hf_head import head_reason
from r1core.logprob import token_logprobs
from r1core.logprobs_from_hidden import logprobs_from_hidden
from r1core.loss_tokens import LossMetrics, PackedTokens
from r1core.notices import say_once
from r1core.types import Rollouts

ForwardKind = Literal["auto", "native", "hf"]
"""By the engine's kernels where they can, else the module's forward; one of them, or an error."""

Layout = Literal["shared", "packed", "padded"]
"""What a forward pass runs on: packed rows that share their prompts, packed rows, padded rows."""


def native_reason(model: PreTrainedModel) -> str | None:
    """Return why our own kernels do not train this model as it is now, or None if they do."""
    return unsupported_decoder_reason(model) or _training_reason(model)


def _training_reason(model: PreTrainedModel) -> str | None:
    """Return what the module's own forward or backward would do besides."""
    for name, module in model.named_modules():
        if module._backward_hooks or module._backward_pre_hooks:
            return f"{name or 'the model'} has a backward hook"
        if isinstance(module, nn.Dropout) and module.p > 0 and module.training:
            return f"{name} is a dropout of {module.p:g} in training mode"
    dropout = getattr(model.config, "attention_dropout", 0.0)
    return (
        f"attention_dropout is {dropout:g} in training mode" if model.training and dropout else None
    )


def runs_native(model: PreTrainedModel, kind: ForwardKind) -> bool:
    """Tell whether our own kernels run the model; say once why not.

    Raises:
        ValueError: they must and cannot.
    """
    if kind == "hf":
        return False
    reason = native_reason(model)
    if reason and kind == "native":
        raise ValueError(f'forward = "native" needs a model of the engine\'s table; {reason}')
    if reason:
        say_once(f"training through the model's own forward, not ours: {reason}")
    return reason is None


@torch.compiler.disable  # type: ignore[untyped-decorator]  # looks at modules
def training_forward(
    model: PreTrainedModel, kind: ForwardKind = "auto", *, gradient_checkpointing: bool = False
) -> TrainingForward:
    """Return the forward pass that trains a model as it is now: module, parameters, hooks.

    Args:
        model: a causal LM on any device.
        kind: by which kernels.
        gradient_checkpointing: keep each layer's input alone; the rest is computed again.

    Raises:
        ValueError: it must be ours and cannot.
    """
    forward = NativeForward if runs_native(model, kind) else ModuleForward
    return forward(model, gradient_checkpointing)


class NativeForward:
    """By the engine's kernels: packed rows that share their prompts.

    Holds the engine's table of what lies below the model's head, for as long as its values stay.
    """

    layout: Layout = "shared"
    fuses_loss = True

    def __init__(self, model: PreTrainedModel, gradient_checkpointing: bool = False) -> None:
        self._model, self._table = model, native_forward.DecoderTable.of(model)
        self._gradient_checkpointing = gradient_checkpointing

    def on_one_torch_thread(self) -> AbstractContextManager[None]:
        """Keep torch's threads off the cores between our kernels, if the model is small."""
        return torch_threads.one_thread(self._model.parameters())

    def completion_logprobs(self, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """Score the completions' tokens, row by row; differentiable.

        Args:
            rollouts: N completions; their sampling temperature divides the logits.

        Returns:
            logprobs_M, entropies_M: float32, nats.
        """
        scored: tuple[Tensor, Tensor] = native_forward.head_logprobs(
            self._model, self._hidden(rollouts), *_scored(rollouts)
        )
        return scored

    def completion_loss(
        self, rollouts: Rollouts, packed: PackedTokens
    ) -> tuple[Tensor, LossMetrics, Tensor]:
        """Return the loss of the completions' tokens; differentiable.

        The gradient is computed with the loss, from the same logits, which are never whole; see
        `native_loss.head_loss` and `grpo_loss_from_hidden`. Only where `fuses_loss`.

        Args:
            rollouts: N completions; their sampling temperature divides the logits.
            packed: of their M tokens, row by row; with a ratio per token.

        Returns:
            loss, metrics, and logprobs_M: float32, nats, without a graph; 0 where a token does not
            count.
        """
        tokens_M, temperature = _scored(rollouts)
        found: tuple[Tensor, LossMetrics, Tensor] = native_loss.head_loss(
            self._model, self._hidden(rollouts), tokens_M, packed, temperature
        )
        return found

    def completion_values(self, rollouts: Rollouts) -> Tensor:
        """Return what a scalar `lm_head` says before each completion token, float32 [M]."""
        values_M1 = self._model.lm_head(self._hidden(rollouts).to(self._model.dtype))
        values_M: Tensor = values_M1.squeeze(-1).float()
        return values_M

    def last_hidden(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Return the final hidden state at each sequence's last token, [N, H]; differentiable."""
        # What follows the last token is not read.
        tokens = [torch.tensor([*ids, ids[-1]]) for ids in sequences]
        lengths = [len(ids) for ids in sequences]
        hidden_NH: Tensor = native_forward.completion_hidden(
            self._table,
            tokens,
            lengths,
            gradient_checkpointing=self._gradient_checkpointing,
        )
        return hidden_NH.to(self._model.dtype)

    def _hidden(self, rollouts: Rollouts) -> Tensor:
        prompts = [p for p in rollouts.prompt_tokens for _ in range(rollouts.group_size)]
        sequences = [
            torch.cat([prompt, tokens_T[:length]])
            for prompt, tokens_T, length in zip(
                prompts, rollouts.tokens_NT, rollouts.lengths_N.tolist(), strict=True
            )
        ]
        hidden_MH: Tensor = native_forward.completion_hidden(
            self._table,
            sequences,
            [len(prompt) for prompt in prompts],
            gradient_checkpointing=self._gradient_checkpointing,
            trace=rollouts.trace,
        )
        return hidden_MH


class ModuleForward:
    """By the module's own forward, but for its head; see `NativeForward`."""

    def __init__(self, model: PreTrainedModel, gradient_checkpointing: bool = False) -> None:
        self._model, self._gradient_checkpointing = model, gradient_checkpointing
        self.layout: Layout = "packed" if hf_forward.packs(model) else "padded"

    def on_one_torch_thread(self) -> AbstractContextManager[None]:
        """Leave torch its threads, which run the module."""
        return nullcontext()

    @property
    def fuses_loss(self) -> bool:
        """Whether the head is a matrix and no more; says once why not."""
        reason = head_reason(self._model)
        if reason:
            say_once(f"the logits of a whole micro-batch are held in memory: {reason}")
        return reason is None

    def completion_logprobs(self, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """Score the completions' tokens, row by row; differentiable."""
        tokens_M, temperature = _scored(rollouts)
        tokens_M = tokens_M.to(self._model.device, non_blocking=True)
        if self.fuses_loss:
            hidden_MH, (weight_VH, bias_V) = self._hidden(rollouts)
            scored: tuple[Tensor, Tensor] = logprobs_from_hidden(
                hidden_MH, weight_VH, tokens_M, lm_head_bias=bias_V, temperature=temperature
            )
            return scored
        return token_logprobs(self._logits(rollouts), tokens_M, temperature=temperature)

    def completion_loss(
        self, rollouts: Rollouts, packed: PackedTokens
    ) -> tuple[Tensor, LossMetrics, Tensor]:
        """Return the loss of the completions' tokens; differentiable. Only where `fuses_loss`."""
        tokens_M, temperature = _scored(rollouts)
        hidden_MH, head = self._hidden(rollouts)
        tokens_M = tokens_M.to(self._model.device, non_blocking=True)
        found: tuple[Tensor, LossMetrics, Tensor] = packed_loss_from_hidden(
            hidden_MH, *head, tokens_M, packed, temperature
        )
        return found

    def completion_values(self, rollouts: Rollouts) -> Tensor:
        """Return what a scalar `lm_head` says before each completion token, float32 [M]."""
        values_M: Tensor = self._logits(rollouts).squeeze(-1).float()
        return values_M

    def last_hidden(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Return the final hidden state at each sequence's last token, [N, H]; differentiable."""
        return hf_forward.last_hidden(
            self._model, sequences, gradient_checkpointing=self._gradient_checkpointing
        )

    def _logits(self, rollouts: Rollouts) -> Tensor:
        return hf_forward.completion_logits(
            self._model, rollouts, gradient_checkpointing=self._gradient_checkpointing
        )

    def _hidden(self, rollouts: Rollouts) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
        """Return what the module's own forward gives its head, and the head's weight and bias."""
        hidden_MH = hf_forward.completion_hidden(
            self._model, rollouts, gradient_checkpointing=self._gradient_checkpointing
        )
        head = self._model.get_output_embeddings()
        return hidden_MH, (head.weight, head.bias)


TrainingForward = NativeForward | ModuleForward


def rollout_logprobs(forward: TrainingForward, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
    """Return `completion_logprobs` by row, float32 [N, T]; 0 beyond each row's length."""
    logprobs_M, entropies_M = forward.completion_logprobs(rollouts)
    return _by_row(logprobs_M, rollouts), _by_row(entropies_M, rollouts)


def rollout_values(forward: TrainingForward, rollouts: Rollouts) -> Tensor:
    """Return `completion_values` by row, float32 [N, T]; 0 beyond each row's length."""
    return _by_row(forward.completion_values(rollouts), rollouts)


def _by_row(packed_M: Tensor, rollouts: Rollouts) -> Tensor:
    inside_NT = rollouts.inside_NT.to(packed_M.device)
    blank_NT = torch.zeros(inside_NT.shape, dtype=packed_M.dtype, device=packed_M.device)
    return blank_NT.masked_scatter(inside_NT, packed_M)


def _scored(rollouts: Rollouts) -> tuple[Tensor, float]:
    """Return the completions' tokens, int64 [M], and their temperature."""
    return rollouts.tokens_NT[rollouts.inside_NT], rollouts.sampling.temperature

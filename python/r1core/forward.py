"""The trainer's forward pass: what a model makes of each completion token, and of no other.

Where the engine's table describes the model, the engine's own kernels run it: the same bits as when
the tokens were drawn. Elsewhere the module's own forward does (`hf_forward`), but for its head, as
far as that is a matrix and no more (`hf_head`): logits of a chunk of tokens at a time, float32.

Shapes: N rollouts, M completion tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from r1core import hf_forward, native_forward, native_loss
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


def layout(model: PreTrainedModel, kind: ForwardKind) -> Layout:
    """Return what a forward pass of the model runs on."""
    if runs_native(model, kind):
        return "shared"
    return "packed" if hf_forward.packs(model) else "padded"


def fuses_loss(model: PreTrainedModel, kind: ForwardKind) -> bool:
    """Tell whether `completion_loss` takes the model; say once why not."""
    if runs_native(model, kind):
        return True
    reason = head_reason(model)
    if reason:
        say_once(f"the logits of a whole micro-batch are held in memory: {reason}")
    return reason is None


def completion_logprobs(
    model: PreTrainedModel,
    rollouts: Rollouts,
    *,
    kind: ForwardKind = "auto",
    gradient_checkpointing: bool = False,
) -> tuple[Tensor, Tensor]:
    """Score the completions' tokens, row by row; differentiable.

    Args:
        model: a causal LM on any device.
        rollouts: N completions; their sampling temperature divides the logits.
        kind: by which kernels.
        gradient_checkpointing: keep each layer's input alone; the rest is computed again.

    Returns:
        logprobs_M, entropies_M: float32, nats.
    """
    tokens_M, temperature = rollouts.tokens_NT[inside(rollouts)], rollouts.sampling.temperature
    scored: tuple[Tensor, Tensor]
    if runs_native(model, kind):
        hidden_MH = _completion_hidden(model, rollouts, gradient_checkpointing)
        scored = native_forward.head_logprobs(model, hidden_MH, tokens_M, temperature)
        return scored
    tokens_M = tokens_M.to(model.device, non_blocking=True)
    if fuses_loss(model, kind):
        hidden_MH, (weight_VH, bias_V) = _module_hidden(model, rollouts, gradient_checkpointing)
        scored = logprobs_from_hidden(
            hidden_MH, weight_VH, tokens_M, lm_head_bias=bias_V, temperature=temperature
        )
        return scored
    logits_MV = hf_forward.completion_logits(
        model, rollouts, gradient_checkpointing=gradient_checkpointing
    )
    return token_logprobs(logits_MV, tokens_M, temperature=temperature)


def completion_loss(
    model: PreTrainedModel,
    rollouts: Rollouts,
    packed: PackedTokens,
    *,
    kind: ForwardKind = "auto",
    gradient_checkpointing: bool = False,
) -> tuple[Tensor, LossMetrics, Tensor]:
    """Return the loss of the completions' tokens; differentiable.

    The gradient is computed with the loss, from the same logits, which are never whole; see
    `native_loss.head_loss` and `grpo_loss_from_hidden`.

    Args:
        model: one of which `fuses_loss`.
        rollouts: N completions; their sampling temperature divides the logits.
        packed: of their M tokens, row by row; with a ratio per token.
        kind: by which kernels.
        gradient_checkpointing: keep each layer's input alone; the rest is computed again.

    Returns:
        loss, metrics, and logprobs_M: float32, nats, without a graph; 0 where a token does not
        count.
    """
    tokens_M, temperature = rollouts.tokens_NT[inside(rollouts)], rollouts.sampling.temperature
    found: tuple[Tensor, LossMetrics, Tensor]
    if runs_native(model, kind):
        hidden_MH = _completion_hidden(model, rollouts, gradient_checkpointing)
        found = native_loss.head_loss(model, hidden_MH, tokens_M, packed, temperature)
    else:
        hidden_MH, head = _module_hidden(model, rollouts, gradient_checkpointing)
        tokens_M = tokens_M.to(model.device, non_blocking=True)
        found = packed_loss_from_hidden(hidden_MH, *head, tokens_M, packed, temperature)
    return found


def inside(rollouts: Rollouts) -> Tensor:
    """Return where completions have tokens, bool [N, T]."""
    return torch.arange(rollouts.tokens_NT.shape[1]) < rollouts.lengths_N[:, None]


def completion_values(
    model: PreTrainedModel,
    rollouts: Rollouts,
    *,
    kind: ForwardKind = "auto",
    gradient_checkpointing: bool = False,
) -> Tensor:
    """Return what a scalar `lm_head` says before each completion token, float32 [M]."""
    if runs_native(model, kind):
        hidden_MH = _completion_hidden(model, rollouts, gradient_checkpointing)
        values_M1 = model.lm_head(hidden_MH.to(model.dtype))
    else:
        values_M1 = hf_forward.completion_logits(
            model, rollouts, gradient_checkpointing=gradient_checkpointing
        )
    values_M: Tensor = values_M1.squeeze(-1).float()
    return values_M


def last_hidden(
    model: PreTrainedModel, sequences: Sequence[Sequence[int]], *, kind: ForwardKind = "auto"
) -> Tensor:
    """Return the final hidden state at each sequence's last token, [N, H]; differentiable."""
    if not runs_native(model, kind):
        return hf_forward.last_hidden(model, sequences)
    # What follows the last token is not read.
    tokens = [torch.tensor([*ids, ids[-1]]) for ids in sequences]
    lengths = [len(ids) for ids in sequences]
    hidden_NH: Tensor = native_forward.completion_hidden(model, tokens, lengths)
    return hidden_NH.to(model.dtype)


def _completion_hidden(
    model: PreTrainedModel, rollouts: Rollouts, gradient_checkpointing: bool
) -> Tensor:
    prompts = [p for p in rollouts.prompt_tokens for _ in range(rollouts.group_size)]
    sequences = [
        torch.cat([prompt, tokens_T[:length]])
        for prompt, tokens_T, length in zip(
            prompts, rollouts.tokens_NT, rollouts.lengths_N.tolist(), strict=True
        )
    ]
    hidden_MH: Tensor = native_forward.completion_hidden(
        model,
        sequences,
        [len(prompt) for prompt in prompts],
        gradient_checkpointing=gradient_checkpointing,
    )
    return hidden_MH


def _module_hidden(
    model: PreTrainedModel, rollouts: Rollouts, gradient_checkpointing: bool
) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
    """Return what the module's own forward gives its head, and the head's weight and bias."""
    hidden_MH = hf_forward.completion_hidden(
        model, rollouts, gradient_checkpointing=gradient_checkpointing
    )
    head = model.get_output_embeddings()
    return hidden_MH, (head.weight, head.bias)

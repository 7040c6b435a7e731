"""The forward pass of any Hugging Face model: what it makes of completion tokens, and of no other.

Where attention allows, sequences are packed: several lie side by side in a row, positions start
again at each, and transformers closes attention between them. The head then runs on the positions
that predict a completion token alone. Other models get a padded row per sequence.

Shapes: N rollouts, B rows, C columns, K of them kept, M completion tokens, H hidden size, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from r1core.decoder_spec import plain_decoder
from r1core.hf_head import head_input
from r1core.types import Rollouts

MASKED_ATTENTION = ("eager", "sdpa")
"""Attention that takes any mask; FlashAttention's packs a single row only."""


def packs(model: PreTrainedModel) -> bool:
    """Tell whether the model's forward runs on packed rows."""
    return plain_decoder(model) and model.config._attn_implementation in MASKED_ATTENTION


def first_fit(lengths: Sequence[int], row_length: int) -> list[tuple[int, int]]:
    """Lay sequences into rows in the order they come, each into the first row with room.

    Args:
        lengths: of the sequences; none above `row_length`.
        row_length: columns of a row.

    Returns:
        Each sequence's row and first column.
    """
    used: list[int] = []
    room = 0  # of the emptiest row
    places: list[tuple[int, int]] = []
    for length in lengths:
        if length > room:
            used.append(0)
        row = next(i for i, start in enumerate(used) if start + length <= row_length)
        places.append((row, used[row]))
        used[row] += length
        room = row_length - min(used)
    return places


@dataclass(frozen=True)
class _Rows:
    """Completions as the forward takes them.

    Attributes:
        tokens_BC: int64, on the model's device as all of these.
        positions_BC: int64 where sequences share rows; None where each has its own.
        predicting_M: int64, where in B * C each completion token is predicted.
        first: column of the first of them, in any row.
    """

    tokens_BC: Tensor
    positions_BC: Tensor | None
    predicting_M: Tensor
    first: int


def _laid_out(model: PreTrainedModel, rollouts: Rollouts) -> _Rows:
    prompts = [p for p in rollouts.prompt_tokens for _ in range(rollouts.group_size)]
    completions = rollouts.completion_ids()
    lengths = [len(p) + len(c) for p, c in zip(prompts, completions, strict=True)]
    C = max(lengths, default=1)
    packed = packs(model)
    fitted = first_fit(lengths, C) if packed else [(n, 0) for n in range(len(lengths))]
    places = [place for place in fitted if place is not None]  # all: rows are not limited
    rows = max((row for row, _ in places), default=-1) + 1
    tokens_BC = torch.zeros(rows, C, dtype=torch.int64)
    positions_BC = torch.arange(C).repeat(rows, 1)
    predicting = []  # position i predicts token i + 1
    for (row, start), prompt, completion in zip(places, prompts, completions, strict=True):
        middle = start + len(prompt)
        end = middle + len(completion)
        tokens_BC[row, start:middle] = prompt
        tokens_BC[row, middle:end] = torch.tensor(completion, dtype=torch.int64)
        positions_BC[row, start:] = torch.arange(C - start)  # the tail goes on with the last
        predicting.append(torch.arange(row * C + middle - 1, row * C + end - 1))
    predicting_M = torch.cat(predicting) if predicting else torch.zeros(0, dtype=torch.int64)
    return _Rows(
        tokens_BC.to(model.device),
        positions_BC.to(model.device) if packed else None,
        predicting_M.to(model.device),
        min((len(prompt) for prompt in prompts), default=1) - 1,
    )


def completion_hidden(
    model: PreTrainedModel, rollouts: Rollouts, *, gradient_checkpointing: bool = False
) -> Tensor:
    """Return what the head makes each completion token of, row by row; differentiable.

    Args:
        model: a causal LM on any device, whose rows are packed or whose `head_reason` is None.
        rollouts: N completions.
        gradient_checkpointing: keep each layer's input alone; the rest is computed again.

    Returns:
        hidden_MH: in the model's dtype, on its device.
    """
    rows = _laid_out(model, rollouts)
    with _checkpointed(model, gradient_checkpointing):
        return _hidden(model, rows)


def completion_logits(
    model: PreTrainedModel, rollouts: Rollouts, *, gradient_checkpointing: bool = False
) -> Tensor:
    """Return the logits of every completion token, row by row; differentiable.

    Args:
        model: a causal LM on any device.
        rollouts: N completions.
        gradient_checkpointing: keep each layer's input alone; the rest is computed again.

    Returns:
        logits_MV: in the model's dtype, on its device.
    """
    rows = _laid_out(model, rollouts)
    with _checkpointed(model, gradient_checkpointing):
        if rows.positions_BC is not None:
            logits_MV: Tensor = model.lm_head(_hidden(model, rows))
            return logits_MV
        kept = _kept(rows)
        logits_BKV = model(input_ids=rows.tokens_BC, logits_to_keep=kept, use_cache=False).logits
        return _chosen(logits_BKV, rows)


def _hidden(model: PreTrainedModel, rows: _Rows) -> Tensor:
    if rows.positions_BC is None:
        return _chosen(
            head_input(model, input_ids=rows.tokens_BC, logits_to_keep=_kept(rows)), rows
        )
    hidden_BCH: Tensor = model.model(
        input_ids=rows.tokens_BC, position_ids=rows.positions_BC, use_cache=False
    ).last_hidden_state
    return hidden_BCH.flatten(0, 1)[rows.predicting_M]


def _kept(rows: _Rows) -> Tensor:
    """Return the columns of padded rows in which a completion token is predicted.

    Padding is on the right: under causal attention no real token sees it, so no mask is needed.
    """
    return torch.arange(rows.first, rows.tokens_BC.shape[1] - 1, device=rows.tokens_BC.device)


def _chosen(of_BK: Tensor, rows: _Rows) -> Tensor:
    """Return from those columns what belongs to completion tokens."""
    C = rows.tokens_BC.shape[1]
    return of_BK[rows.predicting_M // C, rows.predicting_M % C - rows.first]


def last_hidden(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    *,
    gradient_checkpointing: bool = False,
) -> Tensor:
    """Return the final hidden state at each sequence's last token, [N, H]; differentiable.

    Padding is on the right, where causal attention does not look.
    """
    lengths_N = torch.tensor([len(ids) for ids in sequences], device=model.device)
    tokens_NT = torch.zeros(len(sequences), int(lengths_N.max()), dtype=torch.int64)
    for row, ids in enumerate(sequences):
        tokens_NT[row, : len(ids)] = torch.tensor(ids)
    with _checkpointed(model, gradient_checkpointing):
        hidden_NTH = model.base_model(
            input_ids=tokens_NT.to(model.device), use_cache=False
        ).last_hidden_state
    rows_N = torch.arange(len(sequences), device=model.device)
    hidden_NH: Tensor = hidden_NTH[rows_N, lengths_N - 1]
    return hidden_NH


@contextmanager
def _checkpointed(model: PreTrainedModel, wanted: bool) -> Iterator[None]:
    """Have each layer keep its input alone, where that is wanted and there is a backward pass.

    transformers does so in training mode only; the layers' own modules stay in eval mode, so that
    no dropout sets in.
    """
    layers = checkpointing_layers(model) if wanted and torch.is_grad_enabled() else []
    try:
        for layer in layers:
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
            layer.gradient_checkpointing = layer.training = True
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = layer.training = False


def checkpointing_layers(model: PreTrainedModel) -> list[GradientCheckpointingLayer]:
    """Return the layers that transformers can run again in the backward pass."""
    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]

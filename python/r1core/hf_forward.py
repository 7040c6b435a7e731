"""The forward pass of any Hugging Face model: the logits of completion tokens, and of no other.

Where attention allows, sequences are packed: several lie side by side in a row, positions start
again at each, and transformers closes attention between them. The head then runs on the positions
that predict a completion token alone. Other models get a padded row per sequence.

Shapes: N rollouts, B rows, C columns, M completion tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from r1core.decoder_spec import plain_decoder
from r1core.types import Rollouts

MASKED_ATTENTION = ("eager", "sdpa")
"""Attention that takes any mask; FlashAttention's packs a single row only."""


def packs(model: PreTrainedModel) -> bool:
    """Tell whether the model's forward runs on packed rows."""
    return plain_decoder(model) and model.config._attn_implementation in MASKED_ATTENTION


def first_fit(
    lengths: Sequence[int], row_length: int, rows: int | None = None
) -> list[tuple[int, int] | None]:
    """Lay sequences into rows in the order they come, each into the first row with room.

    Args:
        lengths: of the sequences; none above `row_length`.
        row_length: columns of a row.
        rows: how many there are at most; None for as many as it takes.

    Returns:
        Each sequence's row and first column; None where no row had room.
    """
    used: list[int] = []
    room = 0  # of the emptiest row
    places: list[tuple[int, int] | None] = []
    for length in lengths:
        if length > room:
            if rows is not None and len(used) == rows:
                places.append(None)
                continue
            used.append(0)
        row = next(i for i, start in enumerate(used) if start + length <= row_length)
        places.append((row, used[row]))
        used[row] += length
        room = row_length - min(used)
    return places


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
    index_M = torch.cat(predicting) if predicting else torch.zeros(0, dtype=torch.int64)

    index_M, tokens_BC = index_M.to(model.device), tokens_BC.to(model.device)
    checkpointing = gradient_checkpointing and torch.is_grad_enabled()
    with _checkpointed(model) if checkpointing else nullcontext():
        if packed:
            hidden_BCH = model.model(
                input_ids=tokens_BC, position_ids=positions_BC.to(model.device), use_cache=False
            ).last_hidden_state
            logits_MV: Tensor = model.lm_head(hidden_BCH.flatten(0, 1)[index_M])
            return logits_MV
        # Right-padded: under causal attention no real token sees a pad, so no mask is needed.
        first = min((len(prompt) for prompt in prompts), default=1) - 1
        kept = torch.arange(first, C - 1, device=model.device)
        logits_BKV = model(input_ids=tokens_BC, logits_to_keep=kept, use_cache=False).logits
        logits_MV = logits_BKV[index_M // C, index_M % C - first]
        return logits_MV


def last_hidden(model: PreTrainedModel, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Return the final hidden state at each sequence's last token, [N, H]; differentiable.

    Padding is on the right, where causal attention does not look.
    """
    lengths_N = torch.tensor([len(ids) for ids in sequences], device=model.device)
    tokens_NT = torch.zeros(len(sequences), int(lengths_N.max()), dtype=torch.int64)
    for row, ids in enumerate(sequences):
        tokens_NT[row, : len(ids)] = torch.tensor(ids)
    hidden_NTH = model.base_model(
        input_ids=tokens_NT.to(model.device), use_cache=False
    ).last_hidden_state
    rows_N = torch.arange(len(sequences), device=model.device)
    hidden_NH: Tensor = hidden_NTH[rows_N, lengths_N - 1]
    return hidden_NH


@contextmanager
def _checkpointed(model: PreTrainedModel) -> Iterator[None]:
    """Have each layer keep its input alone.

    transformers does so in training mode only; the layers' own modules stay in eval mode, so that
    no dropout sets in.
    """
    layers = checkpointing_layers(model)
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

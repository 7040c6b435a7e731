"""Packing documents into rows, so that a training step wastes no work on padding.

A row holds several whole documents side by side. None sees another: the attention mask is causal
within a document and closed between documents, and positions start again at 0 in each.

Shapes: B rows, T positions of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORE = -100
"""Label of a position that has no next token to predict; `cross_entropy`'s default."""


@dataclass(frozen=True)
class PackedBatch:
    """Rows of documents, as a Hugging Face causal language model takes them.

    Attributes:
        tokens_BT: int64 [B, T]; 0 where no document is.
        labels_BT: int64 [B, T], each position's next token; `IGNORE` at a document's last.
        positions_BT: int64 [B, T], counted from each document's first token.
        mask_B1TT: float32 [B, 1, T, T], added to the attention scores: 0 where a query may look,
            the most negative number elsewhere.
        num_tokens: labels that count.
    """

    tokens_BT: Tensor
    labels_BT: Tensor
    positions_BT: Tensor
    mask_B1TT: Tensor
    num_tokens: int


def pack(
    documents: Iterable[Sequence[int]], *, rows: int, row_length: int
) -> Iterator[PackedBatch]:
    """Lay documents into batches in the order they come, each in the first row with room.

    A batch is closed when a document fits in none of its rows; that document opens the next one.

    Args:
        documents: token ids; none longer than `row_length`. Consumed as batches are asked for.
        rows: B, rows of a batch; >= 1.
        row_length: T, tokens in a row; >= 2.

    Yields:
        Full batches, and the partly filled last one where the documents end.

    Raises:
        ValueError: a document is longer than a row.
    """
    layout = _Layout(rows, row_length)
    for document in documents:
        if len(document) > row_length:
            raise ValueError(
                f"pack: documents must have at most {row_length} tokens (row_length); "
                f"got {len(document)}"
            )
        if not layout.place(document):
            yield layout.batch()
            layout = _Layout(rows, row_length)
            layout.place(document)
    if layout.documents:
        yield layout.batch()


class _Layout:
    """One batch while it is being filled."""

    def __init__(self, rows: int, row_length: int) -> None:
        self.used = [0] * rows
        self.row_length = row_length
        self.documents: list[tuple[int, int, Sequence[int]]] = []  # row, first position, ids

    def place(self, document: Sequence[int]) -> bool:
        """Put a document in the first row with room; False if there is none."""
        for row, used in enumerate(self.used):
            if used + len(document) <= self.row_length:
                self.documents.append((row, used, document))
                self.used[row] += len(document)
                return True
        return False

    def batch(self) -> PackedBatch:
        """Write the documents into tensors."""
        shape = (len(self.used), self.row_length)
        tokens = torch.zeros(shape, dtype=torch.int64)
        labels = torch.full(shape, IGNORE)
        positions = torch.zeros(shape, dtype=torch.int64)
        owner = torch.full(shape, -1)  # unused positions see each other, so no softmax is empty
        for number, (row, start, document) in enumerate(self.documents):
            end = start + len(document)
            ids = torch.tensor(document)
            tokens[row, start:end] = ids
            labels[row, start : end - 1] = ids[1:]
            positions[row, start:end] = torch.arange(len(document))
            owner[row, start:end] = number
        return PackedBatch(
            tokens_BT=tokens,
            labels_BT=labels,
            positions_BT=positions,
            mask_B1TT=_additive_mask(owner),
            num_tokens=sum(max(len(document) - 1, 0) for _, _, document in self.documents),
        )


def _additive_mask(owner_BT: Tensor) -> Tensor:
    T = owner_BT.shape[1]
    visible = (owner_BT[:, :, None] == owner_BT[:, None, :]) & torch.ones(T, T).tril().bool()
    # Additive, not boolean: transformers' eager attention adds whatever it is given.
    mask = torch.zeros(visible.shape).masked_fill_(~visible, torch.finfo(torch.float32).min)
    return mask[:, None]

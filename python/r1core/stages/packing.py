"""Packing documents into rows, so that a training step wastes no work on padding.

A row holds several whole documents side by side. None sees another: the attention mask is causal
within a document and closed between documents, and positions start again at 0 in each. Our own
forward needs no rows; there they are the measure of a batch alone.

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
class PackedRows:
    """Rows of documents, as a Hugging Face causal language model takes them.

    Attributes:
        tokens_BT: int64 [B, T]; 0 where no document is.
        labels_BT: int64 [B, T], each position's next token; `IGNORE` at a document's last.
        positions_BT: int64 [B, T], counted from each document's first token.
        mask_B1TT: float32 [B, 1, T, T], added to the attention scores: 0 where a query may look,
            the most negative number elsewhere.
    """

    tokens_BT: Tensor
    labels_BT: Tensor
    positions_BT: Tensor
    mask_B1TT: Tensor


def pack(
    documents: Iterable[Sequence[int]], *, rows: int, row_length: int
) -> Iterator[PackedBatch]:
    """Lay documents into batches in the order they come, each in the first row with room.

    A batch is closed when a document fits in none of its rows; that document opens the next one.

    Args:
        documents: token ids, of 1 to `row_length` tokens each. Consumed as batches are asked for.
        rows: B, rows of a batch; >= 1.
        row_length: T, tokens in a row; >= 2.

    Yields:
        Full batches, and the partly filled last one where the documents end.

    Raises:
        ValueError: a document is empty, or longer than a row.
    """
    batch = PackedBatch(rows, row_length)
    for document in documents:
        if len(document) == 0:
            raise ValueError("pack: documents must have at least 1 token; got an empty one")
        if len(document) > row_length:
            raise ValueError(
                f"pack: documents must have at most {row_length} tokens (row_length); "
                f"got {len(document)}"
            )
        if not batch.place(document):
            yield batch
            batch = PackedBatch(rows, row_length)
            batch.place(document)
    if batch.documents:
        yield batch


class PackedBatch:
    """Documents that fit into B rows of T tokens.

    Attributes:
        documents: token ids, in the order they came.
    """

    def __init__(self, rows: int, row_length: int) -> None:
        """Begin without documents."""
        self.documents: list[Sequence[int]] = []
        self._places: list[tuple[int, int]] = []  # of each its row and first position
        self._used = [0] * rows
        self._row_length = row_length

    @property
    def num_tokens(self) -> int:
        """Tokens that follow another in a document."""
        return sum(len(document) - 1 for document in self.documents)

    def place(self, document: Sequence[int]) -> bool:
        """Put a document in the first row with room; False if there is none."""
        for row, used in enumerate(self._used):
            if used + len(document) <= self._row_length:
                self.documents.append(document)
                self._places.append((row, used))
                self._used[row] += len(document)
                return True
        return False

    def rows(self) -> PackedRows:
        """Write the documents into tensors."""
        shape = (len(self._used), self._row_length)
        tokens = torch.zeros(shape, dtype=torch.int64)
        labels = torch.full(shape, IGNORE)
        positions = torch.zeros(shape, dtype=torch.int64)
        owner = torch.full(shape, -1)  # unused positions see each other, so no softmax is empty
        for number, document in enumerate(self.documents):
            row, start = self._places[number]
            end = start + len(document)
            ids = torch.tensor(document)
            tokens[row, start:end] = ids
            labels[row, start : end - 1] = ids[1:]
            positions[row, start:end] = torch.arange(len(document))
            owner[row, start:end] = number
        return PackedRows(tokens, labels, positions, _additive_mask(owner))


def _additive_mask(owner_BT: Tensor) -> Tensor:
    T = owner_BT.shape[1]
    visible = (owner_BT[:, :, None] == owner_BT[:, None, :]) & torch.ones(T, T).tril().bool()
    # Additive, not boolean: transformers' eager attention adds whatever it is given.
    mask = torch.zeros(visible.shape).masked_fill_(~visible, torch.finfo(torch.float32).min)
    return mask[:, None]

"""Placeholder until the engine lands."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Generated(NamedTuple):
    tokens_NT: Tensor
    logprobs_NT: Tensor
    truncated_logprobs_NT: Tensor
    entropies_NT: Tensor
    lengths_N: Tensor
    stopped_N: Tensor

    @classmethod
    def empty(cls, rows: int, columns: int) -> Generated:
        """Return N rows of zeros."""
        floats = [torch.zeros(rows, columns) for _ in range(3)]
        return cls(
            torch.zeros(rows, columns, dtype=torch.int64),
            *floats,
            torch.zeros(rows, dtype=torch.int64),
            torch.zeros(rows, dtype=torch.bool),
        )

    def trimmed(self) -> Generated:
        """Drop the columns beyond the longest row."""
        T = int(self.lengths_N.max()) if len(self.lengths_N) else 0
        return Generated(*(x[:, :T].contiguous() for x in self[:4]), *self[4:])


class Engine:
    def __init__(self, model): ...
    @staticmethod
    def supports(model):
        return "no engine"

"""Rollouts with their scores: choosing some groups, joining several draws.

Shapes: P prompts, G rollouts per prompt, N = P * G, T positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from r1core.stages.questions import Batch, join_batches
from r1core.types import RewardTable, Rollouts


@dataclass
class Graded:
    """Rollouts with their scores and their questions' columns."""

    rollouts: Rollouts
    table: RewardTable
    columns: dict[str, list[Any]]

    def groups(self, index: Sequence[int]) -> Graded:
        """Return some of the groups, in the order given."""
        P, G = len(self.rollouts.prompt_tokens), self.rollouts.group_size
        if list(index) == list(range(P)):
            return self
        rows = torch.tensor([p * G + g for p in index for g in range(G)], dtype=torch.int64)
        chosen = self.rollouts.rows(rows)
        rollouts = replace(
            chosen,
            prompts=chosen.prompts[::G],
            prompt_tokens=chosen.prompt_tokens[::G],
            group_size=G,
            prompt_uids=chosen.prompt_uids[::G],
            completion_prefixes=chosen.completion_prefixes[::G],
        )
        table = replace(
            self.table,
            scores={name: scores_N[rows] for name, scores_N in self.table.scores.items()},
            total_N=self.table.total_N[rows],
            extra={name: [v[n] for n in rows.tolist()] for name, v in self.table.extra.items()},
        )
        columns = {name: [values[p] for p in index] for name, values in self.columns.items()}
        return Graded(rollouts, table, columns)


def join_graded(parts: Sequence[Graded]) -> Graded:
    """Return the groups of all parts, in order."""
    if len(parts) == 1:
        return parts[0]
    tables = [part.table for part in parts]
    columns = join_batches(
        [Batch(prompts=[], columns=p.columns, uids=list(p.rollouts.prompt_uids)) for p in parts]
    ).columns
    table = RewardTable(
        scores={
            name: torch.cat([table.scores[name] for table in tables]) for name in tables[0].scores
        },
        weights=tables[0].weights,
        total_N=torch.cat([table.total_N for table in tables]),
        group_size=tables[0].group_size,
        seconds={n: sum(table.seconds[n] for table in tables) for n in tables[0].seconds},
        timeouts={n: sum(table.timeouts[n] for table in tables) for n in tables[0].timeouts},
        crashes={n: sum(table.crashes[n] for table in tables) for n in tables[0].crashes},
        extra=join_batches(
            [
                Batch(prompts=[], columns=dict(t.extra), uids=list(range(len(t.total_N))))
                for t in tables
            ]
        ).columns,
        metrics={
            name: sum(table.metrics.get(name, 0.0) for table in tables) / len(tables)
            for name in dict.fromkeys(name for table in tables for name in table.metrics)
        },
    )
    return Graded(join_rollouts([part.rollouts for part in parts]), table, columns)


def join_rollouts(parts: Sequence[Rollouts]) -> Rollouts:
    """Return the groups of all parts, in order, under one length T."""
    T = max(part.tokens_NT.shape[1] for part in parts)

    def stacked(name: str) -> Tensor:
        tensors = [getattr(part, name) for part in parts]
        return torch.cat([torch.nn.functional.pad(x, (0, T - x.shape[1])) for x in tensors])

    def chained(name: str) -> list[Any]:
        return [value for part in parts for value in getattr(part, name)]

    tensors = ("tokens_NT", "logprobs_NT", "truncated_logprobs_NT", "entropies_NT", "mask_NT")
    lists = ("prompts", "prompt_tokens", "finish_reasons", "prompt_uids", "completion_prefixes")
    joined: dict[str, Any] = {name: stacked(name) for name in tensors}
    joined |= {name: chained(name) for name in lists}
    return replace(parts[0], lengths_N=torch.cat([part.lengths_N for part in parts]), **joined)

"""Questions on their way to the policy: in batches as they come, in portions as they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel


class Batch(BaseModel):
    """Questions with what the rewards need to know about them.

    Attributes:
        prompts: P prompts, templated as the policy shall see them.
        columns: dataset columns for the rewards, each with P values.
        uids: P counters of the random generator, unique within the run.
    """

    prompts: list[Any]
    columns: dict[str, list[Any]]
    uids: list[int]


class QuestionQueue:
    """Cuts a stream of batches, of whatever sizes, into the sizes asked for."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)
        self._left: Batch | None = None

    @property
    def num_left(self) -> int:
        """Questions that were taken from the stream and not asked for yet."""
        return 0 if self._left is None else len(self._left.uids)

    def take(self, count: int) -> Batch | None:
        """Return the next `count` questions, fewer where the stream ends, None where it ended."""
        parts = [] if self._left is None else [self._left]
        while sum(len(part.uids) for part in parts) < count:
            batch = next(self._batches, None)
            if batch is None:
                break
            parts.append(batch)
        if not parts:
            return None
        joined = join_batches(parts)
        self._left = part_of(joined, slice(count, None)) if len(joined.uids) > count else None
        return part_of(joined, slice(count))


def join_batches(parts: Sequence[Batch]) -> Batch:
    """Return the questions of all parts, in order; a column that a part lacks is None there."""
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part.columns)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for part in parts:
        for name, values in columns.items():
            values.extend(part.columns.get(name, [None] * len(part.uids)))
    return Batch(
        prompts=[prompt for part in parts for prompt in part.prompts],
        columns=columns,
        uids=[uid for part in parts for uid in part.uids],
    )


def part_of(batch: Batch, chosen: slice) -> Batch:
    """Return a run of a batch's questions."""
    columns = {name: values[chosen] for name, values in batch.columns.items()}
    return Batch(prompts=batch.prompts[chosen], columns=columns, uids=batch.uids[chosen])

"""In which order questions are dealt out."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from r1core.data.sources import Row
from r1core.data.spec import DataSpec

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def prompt_sampler(
    rows: Sequence[Row], spec: DataSpec, questions_per_step: int, seed: int
) -> PromptSampler:
    """Return the sampler that deals out these questions in the order that the recipe asks for.

    Raises:
        ValueError: no rows, or `order_by` names no column of numbers.
    """
    hard = None if spec.order_by is None else difficulties(rows, spec.order_by)
    shuffle = spec.order != "given"
    return PromptSampler(len(rows), questions_per_step, seed, shuffle, difficulty=hard)


def difficulties(rows: Sequence[Row], order_by: str) -> list[float]:
    """Return how hard each question is by a column of numbers; "-name" where high is easy.

    A text with one number in it, such as "Level 5", counts as that number.

    Raises:
        ValueError: no such column, or a row without a number in it.
    """
    column = order_by.removeprefix("-")
    sign = -1 if order_by.startswith("-") or column == "pass_rate" else 1
    names = list(dict.fromkeys(name for row in rows for name in row))
    if column not in names:
        raise ValueError(
            f"load_questions: order_by must name a column of the data; got {order_by!r}, there is "
            f"{', '.join(names)}"
        )
    found = [as_number(row.get(column)) for row in rows]
    for row, number in zip(rows, found, strict=True):
        if number is None:
            raise ValueError(
                f"load_questions: order_by must name a column of numbers; got {order_by!r}, which "
                f"is {row.get(column)!r} for the prompt {str(row['prompt'])[:60]!r}"
            )
    return [sign * number for number in found if number is not None]


def as_number(value: Any) -> float | None:
    """Return a number, or the only one in a text; None where there is none."""
    if isinstance(value, str):
        numbers = NUMBER.findall(value)
        value = float(numbers[0]) if len(numbers) == 1 else None
    if not isinstance(value, (int, float)) or math.isnan(value):
        return None
    return float(value)


class PromptSampler:
    """Deals out questions epoch by epoch, each exactly once per epoch.

    An epoch's order depends on the seed and its number alone, so three integers are the whole
    state. A step may reach from one epoch into the next.

    Attributes:
        epoch: number of the current epoch, from 0.
        index: questions of the epoch dealt out so far.
        next_uid: the next question's counter of the random generator; it never repeats.
    """

    def __init__(
        self,
        count: int,
        questions_per_step: int,
        seed: int,
        shuffle: bool = True,
        *,
        difficulty: Sequence[float] | None = None,
    ) -> None:
        """Start at epoch 0.

        Args:
            count: number of questions; >= 1.
            questions_per_step: P; >= 1.
            seed: names the sequence of orders.
            shuffle: False deals the questions out in their own order.
            difficulty: a number per question; each epoch goes from low to high, and `shuffle`
                says how it goes through those of equal difficulty.

        Raises:
            ValueError: a number is not positive, or not every question has a difficulty.
        """
        for name, value in (("count", count), ("questions_per_step", questions_per_step)):
            if value < 1:
                raise ValueError(f"PromptSampler: {name} must be >= 1; got {value}")
        if difficulty is not None and len(difficulty) != count:
            raise ValueError(
                f"PromptSampler: difficulty must have one number per question, {count}; got "
                f"{len(difficulty)}"
            )
        self.difficulty = difficulty
        self.count, self.questions_per_step = count, questions_per_step
        self.seed, self.shuffle = seed, shuffle
        self.epoch = self.index = self.next_uid = 0
        self._order: tuple[int, list[int]] = (-1, [])  # of one epoch, made when it begins

    def next(self) -> tuple[list[int], list[int]]:
        """Return the indices of the next P questions and their P uids."""
        indices = [self._deal() for _ in range(self.questions_per_step)]
        first, self.next_uid = self.next_uid, self.next_uid + len(indices)
        return indices, list(range(first, self.next_uid))

    def _deal(self) -> int:
        if self.index == self.count:
            self.epoch, self.index = self.epoch + 1, 0
        if self._order[0] != self.epoch:
            self._order = (self.epoch, self._permutation())
        self.index += 1
        return self._order[1][self.index - 1]

    def _permutation(self) -> list[int]:
        order = self._shuffled()
        if self.difficulty is None:
            return order
        return sorted(order, key=self.difficulty.__getitem__)  # equals stay in the order they had

    def _shuffled(self) -> list[int]:
        if not self.shuffle:
            return list(range(self.count))
        # Sorting by random() keys: of all that `random` offers, only random() is promised to give
        # the same numbers under every Python version.
        generator = random.Random(f"{self.seed}/{self.epoch}")
        return sorted(range(self.count), key=lambda _: generator.random())

    def state_dict(self) -> dict[str, int]:
        """Return what `load_state_dict` needs to go on from here."""
        return {"epoch": self.epoch, "index": self.index, "next_uid": self.next_uid}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from where `state_dict` was taken, on the same questions and seed.

        Raises:
            ValueError: the state is that of a larger data set.
        """
        if not 0 <= state["index"] <= self.count:
            raise ValueError(
                f"PromptSampler: index must be in [0, {self.count}]; got {state['index']}"
            )
        self.epoch, self.index = state["epoch"], state["index"]
        self.next_uid = state["next_uid"]

"""In which order questions are dealt out."""

from __future__ import annotations

import random
from collections.abc import Mapping


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
        self, count: int, questions_per_step: int, seed: int, shuffle: bool = True
    ) -> None:
        """Start at epoch 0.

        Args:
            count: number of questions; >= 1.
            questions_per_step: P; >= 1.
            seed: names the sequence of orders.
            shuffle: False deals the questions out in their own order.

        Raises:
            ValueError: a number is not positive.
        """
        for name, value in (("count", count), ("questions_per_step", questions_per_step)):
            if value < 1:
                raise ValueError(f"PromptSampler: {name} must be >= 1; got {value}")
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

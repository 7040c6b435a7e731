"""Questions of several data sets, dealt out in given proportions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1core.data.questions import Questions
from r1core.data.sampler import PromptSampler
from r1core.types import Prompt


@dataclass(frozen=True)
class Part:
    """One of the data sets.

    Attributes:
        questions: its questions.
        sampler: which deals them out.
        share: of all questions while it is in force, in (0, 1]; the first part takes what is left.
        from_step: first update that it is in force for.
    """

    questions: Questions
    sampler: PromptSampler
    share: float
    from_step: int = 1


class QuestionMixture:
    """Deals out questions one at a time; which data set is next depends on counts alone.

    Args:
        parts: the first is always in force, and takes the share that the others leave.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.columns = list(
            dict.fromkeys(name for part in parts for name in part.questions.column_names)
        )
        self._owed = [0.0] * len(self.parts)
        self._dealt = 0

    def next(self, step: int) -> tuple[Prompt, dict[str, list[Any]], int]:
        """Return a question for update `step`: its prompt, its columns (a value each), its uid."""
        part = self.parts[self._choose(step)]
        (index,), _ = part.sampler.next()
        prompts, columns = part.questions.batch([index])
        self._dealt += 1
        every = {name: columns.get(name, [None]) for name in self.columns}
        return prompts[0], every, self._dealt - 1

    def _choose(self, step: int) -> int:
        shares = [part.share if part.from_step <= step else 0.0 for part in self.parts]
        shares[0] = 1.0 - sum(shares[1:])
        self._owed = [owed + share for owed, share in zip(self._owed, shares, strict=True)]
        chosen = max(range(len(self.parts)), key=lambda k: (self._owed[k], -k))
        self._owed[chosen] -= 1.0
        return chosen

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on from here."""
        return {
            "samplers": [part.sampler.state_dict() for part in self.parts],
            "owed": list(self._owed),
            "dealt": self._dealt,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, on the same data."""
        for part, sampler in zip(self.parts, state["samplers"], strict=True):
            part.sampler.load_state_dict(sampler)
        self._owed, self._dealt = list(state["owed"]), state["dealt"]

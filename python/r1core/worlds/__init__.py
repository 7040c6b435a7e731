"""Embedded worlds: seeded generators of problems and of the corpus a base model grows up on.

A world makes the whole recipe runnable on a laptop: its tokenizer, base model and problems are
built on the spot, from a seed.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from r1core.worlds.bilingual import Bilingual
from r1core.worlds.pick_search import PickSearch
from r1core.worlds.sum_chain import SumChain


class World(Protocol):
    """What a world offers; settings are the fields of its (frozen) dataclass."""

    @property
    def name(self) -> str:
        """The name that `load_world` knows."""

    @property
    def seed(self) -> int:
        """Names the sequence of problems and pages, and the base model's initial weights."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Texts that the tokenizer keeps whole."""

    @property
    def cue(self) -> str:
        """What a reply begins with where it takes the long route."""

    @property
    def pretraining(self) -> dict[str, Any]:
        """Settings of `PretrainConfig` that this world's pages need."""

    def problems(
        self, split: str, start: int, count: int, domain: str | None = None
    ) -> list[dict[str, Any]]:
        """Return rows `start` to `start + count` of a split ("train" or "eval").

        Args:
            split: which part.
            start: index of the first row.
            count: number of rows.
            domain: which kind of problems, in a world that has several.

        Each row has at least prompt, answer, level and text (prompt and a correct long reply).
        Where replies can be right in several ways: also accepted (every right answer, as texts) and
        parts (a page in pieces, by turns free choices and what follows from them), for the gate.
        """

    def pages(self, start: int = 0) -> Iterator[str]:
        """Yield corpus pages from index `start` on, without end."""


_WORLDS: dict[str, Callable[..., World]] = {
    "bilingual": Bilingual,
    "pick_search": PickSearch,
    "sum_chain": SumChain,
}


def load_world(name: str, **settings: Any) -> World:
    """Return the world of that name.

    Args:
        name: "bilingual", "pick_search" or "sum_chain".
        settings: the world's fields, for example `seed=1` or `max_digits=5`.

    Raises:
        ValueError: no such world, no such setting, or a value it does not accept.
    """
    if name not in _WORLDS:
        raise ValueError(f"load_world: name must be one of {sorted(_WORLDS)}; got {name!r}")
    world = _WORLDS[name]
    known = [field.name for field in dataclasses.fields(world)]  # type: ignore[arg-type]
    for setting in settings:
        if setting not in known:
            nearest = difflib.get_close_matches(setting, known, n=1, cutoff=0.0)
            raise ValueError(
                f"load_world: settings of {name} must be among {known}; "
                f"got {setting!r} (nearest: {nearest[0]!r})"
            )
    return world(**settings)

"""Pass rates in a file that grows while they are found, so that nothing is sampled twice.

The first line holds the settings that the rates depend on; each further line is one question's
`[key, passed, graded]`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Tally:
    """How many completions of a question passed, of how many that were graded."""

    passed: int
    graded: int

    @property
    def rate(self) -> float | None:
        """The share that passed; None where none was graded."""
        return self.passed / self.graded if self.graded else None


@dataclass
class PassRates:
    """Tallies by question, in memory and, with a path, in a file.

    Attributes:
        tallies: question key -> tally.
        path: where `add` writes to; None keeps them in memory.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def open(cls, path: Path, settings: Mapping[str, Any]) -> PassRates:
        """Return what a file holds under these settings; one with others, or none, begins empty.

        A last line that a killed process left unfinished is dropped.
        """
        head = json.dumps(settings, sort_keys=True)
        tallies = dict(read_tallies(path, head)) if path.is_file() else {}
        lines = [head, *(line(key, tally) for key, tally in tallies.items())]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")
        os.replace(temporary, path)
        return cls(tallies, path)

    def add(self, tallies: Mapping[str, Tally]) -> None:
        """Add tallies, in the file too."""
        self.tallies |= tallies
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line(key, tally)}\n" for key, tally in tallies.items())

    def where(self) -> str:
        """Say where the tallies are kept, for a message."""
        return "in memory" if self.path is None else f"in {self.path}"


def line(key: str, tally: Tally) -> str:
    """Return a tally as it is written."""
    return json.dumps([key, tally.passed, tally.graded])


def read_tallies(path: Path, head: str) -> Iterator[tuple[str, Tally]]:
    """Yield the tallies of a file that begins with `head`, up to the first broken line."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or lines[0] != head:
        return
    for text in lines[1:]:
        try:
            key, passed, graded = json.loads(text)
            yield str(key), Tally(int(passed), int(graded))
        except (ValueError, TypeError):
            return

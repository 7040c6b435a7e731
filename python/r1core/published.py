"""The numbers that DeepSeek-R1's tables print, each with the versions that print it.

The texts of the paper do not agree: R1-Zero's AIME 2024 is 71.0 in v1 and 77.9 in v2 and in Nature.
So a number is quoted with its version: v1 is arXiv 2501.12948v1 (January 2025), v2 is
arXiv 2501.12948v2 (September 2025), nature is s41586-025-09422-z.
"""

from __future__ import annotations

import csv
import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import rich
from rich import box
from rich.console import Console
from rich.table import Table

VERSIONS = ("v1", "v2", "nature")


@dataclass(frozen=True)
class Published:
    """One number of the paper.

    Attributes:
        model: as the paper spells it; its stages are DeepSeek-R1-Zero, -Dev1, -Dev2, -Dev3 and
            DeepSeek-R1.
        benchmark: name of an evaluation set ("aime_2024") or of another benchmark ("if_eval").
        metric: what was measured: "pass@1", "cons@64", "rating", ...
        value: in per cent; of a rating, in points.
        versions: of the paper that print this value: "v1", "v2", "nature".
        tables: where.
    """

    model: str
    benchmark: str
    metric: str
    value: float
    versions: tuple[str, ...]
    tables: str


def published(
    benchmark: str | None = None, model: str | None = None, version: str | None = None
) -> list[Published]:
    """Return published numbers.

    Args:
        benchmark: of this one only.
        model: of this one only; "R1-Zero" is short for "DeepSeek-R1-Zero", in any case.
        version: of the paper: "v1", "v2" or "nature".

    Raises:
        ValueError: a name that the tables do not have; a benchmark and a model that are both known
            but were not put together give an empty list.
    """
    rows = read_published()
    check_known("benchmark", benchmark, [row.benchmark for row in rows])
    check_known("version", version, VERSIONS)
    wanted = None if model is None else short_name(model)
    if wanted not in {None, *(short_name(row.model) for row in rows)}:
        check_known("model", model, [row.model for row in rows])
    return [
        row
        for row in rows
        if (benchmark is None or row.benchmark == benchmark)
        and (wanted is None or short_name(row.model) == wanted)
        and (version is None or version in row.versions)
    ]


@functools.cache
def read_published() -> tuple[Published, ...]:
    """Return every row of the table, in the paper's order."""
    text = (resources.files("r1core") / "published.csv").read_text(encoding="utf-8")
    return tuple(
        Published(
            row["model"],
            row["benchmark"],
            row["metric"],
            float(row["value"]),
            tuple(row["versions"].split()),
            row["tables"],
        )
        for row in csv.DictReader(text.splitlines())
    )


def short_name(model: str) -> str:
    """Return a model's name in lower case and without its maker's."""
    return model.lower().removeprefix("deepseek-")


def check_known(argument: str, name: str | None, known: Sequence[str]) -> None:
    """Raise ValueError for a name that is not among those known."""
    if name is None or name in known:
        return
    names = list(dict.fromkeys(known))
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    raise ValueError(
        f"published: {argument} must be one of {', '.join(names)}; got {name!r} "
        f"(nearest: {nearest!r})"
    )


def print_published(rows: Sequence[Published], console: Console | None = None) -> None:
    """Print numbers as a table."""
    printed = Table("benchmark", "model", "metric", "value", "where", box=box.SIMPLE_HEAD)
    printed.columns[3].justify = "right"
    last = ""
    for row in sorted(rows, key=lambda row: row.benchmark):  # stable: the paper's order within
        name = "" if row.benchmark == last else row.benchmark
        printed.add_row(name, row.model, row.metric, value_text(row), row.tables)
        last = row.benchmark
    (console or rich.get_console()).print(printed)


def value_text(row: Published) -> str:
    """Write a number as the paper does."""
    return f"{row.value:.0f}" if row.metric == "rating" else f"{row.value:.1f}"

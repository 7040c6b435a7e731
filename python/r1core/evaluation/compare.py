"""Two evaluations side by side: what differs in how they were made, then by how much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1core.evaluation.run import Result, read_result
from r1core.run_directory import flat
from r1core.stages.at_k import half_interval
from r1core.stages.levels import is_graded, zero_or_one

MUST_AGREE = ("questions.fingerprint", "questions.count", "template", "grader")
"""Settings without which two numbers do not measure the same thing."""


@dataclass(frozen=True)
class Comparison:
    """What two evaluations say together; B minus A.

    Attributes:
        differences: (setting, A's value, B's value), the manifests' keys in which they differ.
        broken: those differences that make the numbers incomparable.
        common: questions that both graded.
        pass_at_1: of A and of B over the common questions.
        difference: B's pass@1 minus A's over the common questions; NaN without any.
        interval: half its 95 % interval, paired: by the spread of the questions' differences.
        shares: whether all scores are 0 or 1, so that their means are shares of right answers.
    """

    differences: list[tuple[str, Any, Any]]
    broken: list[str]
    common: int
    pass_at_1: tuple[float, float]
    difference: float
    interval: float
    shares: bool = True

    @property
    def comparable(self) -> bool:
        """Whether questions, template and grader are the same."""
        return not self.broken


def compare(a: Path | str, b: Path | str) -> Comparison:
    """Compare two directories that `r1core eval` wrote.

    Args:
        a: the directory of the first evaluation.
        b: the directory of the second.

    Raises:
        ValueError: one of them holds no evaluation.
    """
    return compare_results(read_result(a), read_result(b))


def compare_results(a: Result, b: Result) -> Comparison:
    """Compare two evaluations; see `Comparison`."""
    differences = differing(a.manifest, b.manifest)
    broken = [key for key, _, _ in differences if key.startswith(MUST_AGREE)]
    first, second = question_means(a.rows), question_means(b.rows)
    common = [key for key in first if key in second]
    gaps = [second[key] - first[key] for key in common]
    return Comparison(
        differences=differences,
        broken=broken,
        common=len(common),
        pass_at_1=(mean([first[key] for key in common]), mean([second[key] for key in common])),
        difference=mean(gaps),
        interval=half_interval(gaps),
        shares=zero_or_one([*a.rows, *b.rows]),
    )


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the dotted keys in which two manifests differ, with both values."""
    first, second = flat(a), flat(b)
    keys = dict.fromkeys([*first, *second])
    return [
        (key, first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)
    ]


def question_means(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, Any], float]:
    """Return each graded question's mean over its samples; a question is its text and its gold."""
    scores: dict[tuple[Any, Any], list[float]] = {}
    for row in rows:
        if is_graded(row):
            key = str(row["question"]), str(row.get("answer"))
            scores.setdefault(key, []).append(row["accuracy"])
    return {key: mean(values) for key, values in scores.items()}


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN of nothing."""
    return sum(values) / len(values) if values else math.nan


def print_comparison(found: Comparison, console: Console) -> None:
    """Print what differs, whether the numbers may be compared, and the paired difference."""
    if found.differences:
        table = Table("setting", "A", "B", title="What differs", box=None, title_justify="left")
        for key, first, second in found.differences:
            style = "bold red" if key in found.broken else ""
            table.add_row(Text(key, style), Text(str(first)), Text(str(second)))
        console.print(table)
    else:
        console.print("The two evaluations were made in the same way.")
    if not found.comparable:
        names = ", ".join(found.broken)
        console.print(Text(f"Not comparable: {names} must be the same.", "bold red"))
    if not found.common:
        console.print("No question was graded in both.")
        return
    a, b = found.pass_at_1
    if not found.shares:
        console.print(
            f"mean reward over the {found.common} questions of both: A {a:.3f}, B {b:.3f}; "
            f"B - A = {found.difference:+.3f}, {interval_text(found)}",
            highlight=False,
        )
        return
    console.print(
        f"pass@1 over the {found.common} questions of both: A {a:.1%}, B {b:.1%}; "
        f"B - A = {100 * found.difference:+.1f} points, {interval_text(found)}",
        highlight=False,
    )


def interval_text(found: Comparison) -> str:
    """Write the 95 % interval of the difference."""
    if math.isnan(found.interval):
        return "no interval from a single question"
    factor, digits = (100, 1) if found.shares else (1, 3)
    low, high = (factor * (found.difference + sign * found.interval) for sign in (-1, 1))
    return f"95 % interval [{low:+.{digits}f}, {high:+.{digits}f}] (paired by question)"

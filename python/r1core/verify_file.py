"""`r1core verify`: grade a file of completions, and show which failed and why."""

from __future__ import annotations

import dataclasses
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1core.data.sources import read_file
from r1core.readable import shorten, visible
from r1core.rewards import MathPolicy, Verdict, verify_choice, verify_math
from r1core.rewards.functions import gold_text, text_of

Kind = Literal["math", "choice"]

REASONS = {
    "wrong": "another answer",
    "no_answer": "no answer was found",
    "unparsed_answer": "the answer cannot be read",
    "unparsed_gold": "the gold cannot be read: not counted",
    "over_limit": "not settled within the limits",
}
COMPLETION_COLUMNS = ("completion", "response", "output", "generation", "solution_str")
GOLD_COLUMNS = ("answer", "gold", "solution", "ground_truth", "target")
LONGEST_CELL = 100


@dataclass(frozen=True)
class Graded:
    """The rows of a file and what the verifier says of each.

    Attributes:
        completions, golds, verdicts: one per row, in order.
    """

    completions: Sequence[str]
    golds: Sequence[str]
    verdicts: Sequence[Verdict]

    @property
    def counts(self) -> Counter[str]:
        """How many rows have each status."""
        return Counter(verdict.status for verdict in self.verdicts)

    @property
    def accuracy(self) -> float | None:
        """Share of correct rows among those whose gold can be read; None where there are none."""
        judged = len(self.verdicts) - self.counts["unparsed_gold"]
        return self.counts["correct"] / judged if judged else None

    @property
    def failures(self) -> list[int]:
        """The rows that are not correct."""
        return [n for n, verdict in enumerate(self.verdicts) if verdict.status != "correct"]


def grade_file(
    path: Path,
    *,
    completion: str | None = None,
    gold: str | None = None,
    kind: Kind = "math",
    policy: MathPolicy | None = None,
) -> Graded:
    """Grade every row of a .jsonl, .json, .parquet or .csv file.

    Args:
        path: the file.
        completion: the column of completions, texts or messages; None looks for a usual name.
        gold: the column of golds; None looks for a usual name.
        kind: "choice" for letters of options; a column "options" or "choices" holds their texts.
        policy: of kind "math".

    Raises:
        ValueError: the file cannot be read or is empty, or has no such column.
    """
    rows = read_file(path)
    if not rows:
        raise ValueError(f"verify: path must hold at least one row; got {path}")
    completion = completion or usual_column(rows[0], COMPLETION_COLUMNS, "--completion")
    gold = gold or usual_column(rows[0], GOLD_COLUMNS, "--gold")
    completions = [text_of(cell(row, completion, n)) for n, row in enumerate(rows)]
    golds = [gold_text(cell(row, gold, n)) for n, row in enumerate(rows)]
    if kind == "choice":
        options = [row.get("options", row.get("choices")) for row in rows]
        verdicts = verify_choice(completions, golds, options=options)
    else:
        verdicts = verify_math(completions, golds, policy=policy or MathPolicy())
    return Graded(completions, golds, verdicts)


def parse_policy(settings: Sequence[str]) -> MathPolicy:
    """Return the policy of settings such as "precision=4", values as in TOML or bare words.

    Raises:
        ValueError: no such setting or value.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        known = [field.name for field in dataclasses.fields(MathPolicy)]
        if not equals or key not in known:
            raise ValueError(
                f"verify: --policy must be KEY=VALUE, KEY one of {', '.join(known)}; "
                f"got {setting!r}"
            )
        try:
            values[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[key] = value
    return MathPolicy(**values)


def usual_column(row: dict[str, Any], names: Sequence[str], option: str) -> str:
    """Return the first of the usual names that a row has."""
    for name in names:
        if name in row:
            return name
    raise ValueError(f"verify: {option} must name one of the columns {', '.join(row)}; got none")


def cell(row: dict[str, Any], column: str, n: int) -> Any:
    """Return a row's value."""
    if column not in row:
        raise ValueError(f"verify: row {n} must have a column {column!r}; got {', '.join(row)}")
    return row[column]


def print_graded(graded: Graded, console: Console, *, failures: int = 20) -> None:
    """Print the accuracy, the count of each status, and the first rows that failed."""
    accuracy = graded.accuracy
    share = "no row can be judged" if accuracy is None else f"accuracy {accuracy:.1%}"
    console.print(f"[bold]{share}[/] of {len(graded.verdicts):,} completions")
    for status, count in graded.counts.most_common():
        console.print(f"  {count:>8,} {status}", highlight=False)
    failed = graded.failures
    if not failed or failures == 0:
        return
    table = Table("row", "gold", "answer", "why", "end of the completion", box=None)
    for n in failed[:failures]:
        verdict = graded.verdicts[n]
        end = graded.completions[n][-LONGEST_CELL:]
        cells = [
            graded.golds[n][-LONGEST_CELL:],
            verdict.answer or "",
            REASONS[verdict.status],
            end,
        ]
        table.add_row(str(n), *(Text(one_line(text)) for text in cells))
    console.print(table)
    if len(failed) > failures:
        console.print(f"and {len(failed) - failures:,} more (--failures N shows them)")


def one_line(text: str) -> str:
    """Return untrusted text fit for a table cell."""
    return shorten(visible(" ".join(text.split())), LONGEST_CELL)

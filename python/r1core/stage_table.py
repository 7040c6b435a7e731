"""The paper's table of benchmarks and policies (DeepSeek-R1, supplement table 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import rich
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1core.report_data import StageRecord

PREFIX = "benchmark/"


@dataclass(frozen=True)
class StageTable:
    """What every policy of a run scored.

    Attributes:
        stages: names of the policies, in the order they were made.
        rows: (benchmark, what was measured, a value per policy; NaN where it was not measured).
    """

    stages: list[str]
    rows: list[tuple[str, str, list[float]]]

    @property
    def is_empty(self) -> bool:
        """Whether the run has no benchmark."""
        return not self.rows


def stage_table(records: Sequence[StageRecord]) -> StageTable:
    """Collect the benchmark figures that the stages of a run logged."""
    figures: dict[str, dict[str, float]] = {}
    for record in records:
        for values in record.metrics.values():
            found = {k: v for k, v in values.items() if k.startswith(PREFIX)}
            if found:
                figures.setdefault(record.name, {}).update(found)
    names = list(dict.fromkeys(name for values in figures.values() for name in values))
    rows = []
    for name in names:
        benchmark, _, measured = name.removeprefix(PREFIX).partition("/")
        if measured in ("runtime", "num_tokens"):  # of the ledger of costs
            continue
        rows.append((benchmark, measured, [v.get(name, math.nan) for v in figures.values()]))
    return StageTable(list(figures), rows)


def cell(measured: str, value: float) -> str:
    """Write a figure: lengths as numbers, everything else as a percentage."""
    if math.isnan(value):
        return "–"
    return f"{value:.1f}" if measured.endswith("length") else f"{100 * value:.1f}"


def label(measured: str) -> str:
    """Return a measure's name for people: "instruction_reward" -> "instruction"."""
    return measured.removesuffix("_reward").replace("_", " ")


def best(values: Sequence[float]) -> list[int]:
    """Return which policies scored highest, as far as the table shows."""
    known = [round(value, 3) for value in values if not math.isnan(value)]
    return [k for k, value in enumerate(values) if known and round(value, 3) == max(known)]


def print_stage_table(table: StageTable, console: Console | None = None) -> None:
    """Print the table; the best policies of each benchmark in bold, by its headline."""
    if table.is_empty:
        return
    printed = Table("benchmark", "%", *table.stages, box=box.SIMPLE_HEAD)
    for column in printed.columns[2:]:
        column.justify = "right"
    last = ""
    for benchmark, measured, values in table.rows:
        top = best(values) if benchmark != last else []
        cells = [
            Text(cell(measured, value), style="bold" if k in top else "")
            for k, value in enumerate(values)
        ]
        printed.add_row("" if benchmark == last else benchmark, label(measured), *cells)
        last = benchmark
    (console or rich.get_console()).print(printed)

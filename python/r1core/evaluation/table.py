"""An evaluation in a terminal: its figures, its levels, and the paper's numbers beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1core.evaluation.run import Result
from r1core.published import Published, read_published, value_text

LENGTHS = {
    "mean_length": "mean length",
    "mean_length_correct": "mean length, right",
    "mean_length_wrong": "mean length, wrong",
    "tokens_per_correct": "tokens per right answer",
}


def print_result(result: Result, console: Console) -> None:
    """Print the figures, by level too, and what the paper has of the same set."""
    asked, samples = result.manifest["questions"], result.manifest["sampling"]["n"]
    template = result.manifest["template"]["name"]
    of_set = f"{asked['set']}: {asked['count']} questions, {samples} samples each"
    console.print(Text(f"{of_set}, template {template}"))
    tables = [figures_table(result)]
    if levels := level_table(result.metrics):
        tables.append(levels)
    rows = [row for row in read_published() if row.benchmark == asked["set"]]
    if rows:
        tables.append(published_table(rows))
    console.print(Columns(tables, padding=(0, 3)))


def figures_table(result: Result) -> Table:
    """Return pass@1 with its interval, pass@k, cons@k, further rewards and lengths."""
    metrics = result.metrics
    table = Table("", "", box=box.SIMPLE, show_header=False)
    table.columns[1].justify = "right"
    table.add_row(mean_label(metrics), Text(with_interval(metrics), "bold"))
    for name, value in metrics.items():
        if re.fullmatch(r"eval/(pass|cons)@(\d{2,}|[2-9])", name):
            table.add_row(name.removeprefix("eval/"), percent(value))
    for name in result.manifest["grader"]["rewards"]:
        if name != "accuracy":
            value = metrics.get(f"eval/{name}", math.nan)
            table.add_row(Text(name), "–" if math.isnan(value) else f"{value:.3f}")
    for name, label in LENGTHS.items():
        if f"eval/{name}" in metrics:
            table.add_row(label, f"{metrics[f'eval/{name}']:,.1f}")
    return table


def level_table(metrics: Mapping[str, float]) -> Table | None:
    """Return accuracy and length by level; None where the set has no levels."""
    found = (re.fullmatch(r"eval/level/(.*)/mean_length", name, re.DOTALL) for name in metrics)
    levels = [match[1] for match in found if match]
    if not levels:
        return None
    names = ("level", mean_label(metrics), "mean length")
    table = Table(*names, box=box.SIMPLE, title="By difficulty")
    for level in levels:
        value = metrics.get(f"eval/level/{level}/pass@1", math.nan)
        length = metrics[f"eval/level/{level}/mean_length"]
        table.add_row(Text(level), mean_text(value, metrics), f"{length:,.1f}")
    return table


def published_table(rows: list[Published]) -> Table:
    """Return the paper's numbers on a set, the highest first."""
    table = Table("model", "metric", "%", "of", box=box.SIMPLE, title="Published")
    table.columns[2].justify = "right"
    for row in sorted(rows, key=lambda row: -row.value):
        table.add_row(row.model, row.metric, value_text(row), ", ".join(row.versions))
    return table


def with_interval(metrics: Mapping[str, Any]) -> str:
    """Return "74.2 % ± 3.1"; "2.813 ± 0.412" of a reward that is not 0 or 1."""
    half = metrics.get("eval/pass@1/interval", math.nan)
    shown = f"{half:.3f}" if "eval/mean_reward" in metrics else f"{100 * half:.1f}"
    return mean_text(metrics["eval/pass@1"], metrics) + ("" if math.isnan(half) else f" ± {shown}")


def mean_label(metrics: Mapping[str, float]) -> str:
    """Return what the mean of the scores is called."""
    return "mean reward" if "eval/mean_reward" in metrics else "pass@1"


def mean_text(value: float, metrics: Mapping[str, float]) -> str:
    """Return a mean of scores: in per cent where they are 0 or 1, else as it is."""
    if "eval/mean_reward" not in metrics:
        return percent(value)
    return "–" if math.isnan(value) else f"{value:.3f}"


def percent(value: float) -> str:
    """Return a share in per cent."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"

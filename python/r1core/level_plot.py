"""Length against difficulty: how long right and wrong answers are at each level of an evaluation.

DeepSeek-R1, appendix E, shows that the model thinks longer where the question is harder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from r1core.panels import EVAL, GREY, THIRD, TRAIN
from r1core.plots import STYLE
from r1core.report_data import StageRecord, accuracy_column, load_rows
from r1core.stages.levels import MAX_LEVELS, is_graded, rows_by_level

CAPTION = "Length against difficulty, last evaluation."


def level_picture(stage: StageRecord, directory: Path) -> list[str]:
    """Draw a stage's last evaluation into the run directory; return the report's blocks."""
    if not stage.evaluations:
        return []
    rows = load_rows(list(stage.evaluations.values())[-1])
    column = accuracy_column(rows)
    if column is None or "length" not in rows[0]:
        return []
    figure = draw_levels([row | {"accuracy": row[column]} for row in rows])
    if figure is None:
        return []
    path = directory / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', stage.name)}_levels.png"
    figure.savefig(path, dpi=130)
    return [f"![{CAPTION}]({path.name})", f"*{CAPTION}*"]


def draw_levels(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Draw mean length, and accuracy, by level; None without at least two levels.

    Args:
        rows: of an evaluation: level, accuracy (None or NaN where not graded), length in tokens.
    """
    levels = rows_by_level(rows)
    if not 2 <= len(levels) <= MAX_LEVELS:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.8, 2.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        for label, colour, keep in (
            ("all", GREY, lambda row: True),
            ("right", THIRD, lambda row: is_graded(row) and row["accuracy"] == 1),
            ("wrong", EVAL, lambda row: is_graded(row) and row["accuracy"] != 1),
        ):
            means = [mean([r["length"] for r in found if keep(r)]) for found in levels.values()]
            left.plot(range(len(levels)), means, "o-", markersize=3.5, color=colour, label=label)
        scores = [mean([r["accuracy"] for r in f if is_graded(r)]) for f in levels.values()]
        right.plot(range(len(levels)), scores, "o-", markersize=3.5, color=TRAIN)
        label_axes(left, "Length against difficulty", "mean tokens", levels)
        label_axes(right, "Accuracy against difficulty", "share of answers right", levels)
        left.set_ylim(bottom=0)
        left.legend(loc="best")
        right.set_ylim(-0.03, 1.03)
        right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def label_axes(axes: Any, title: str, unit: str, levels: Mapping[Any, Any]) -> None:
    """Name the axes and write the levels under the x axis."""
    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.set_xlabel("level")
    slanted = any(len(str(level)) > 6 for level in levels)
    axes.set_xticks(range(len(levels)), [str(level)[:24] for level in levels])
    if slanted:
        axes.tick_params(axis="x", labelrotation=30)


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN, which is not drawn, of nothing."""
    return sum(values) / len(values) if values else float("nan")

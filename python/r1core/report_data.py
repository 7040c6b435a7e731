"""What a run directory holds, arranged for a report: series, headline figures, levels, transcripts.

Everything a run may lack, because it was killed or did not log it, is simply absent here.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r1core.stages.levels import level_key
from r1core.tracking import list_tables, read_metrics, read_table
from r1core.words import REFLECTIVE_WORDS

Row = dict[str, Any]
Series = tuple[list[int], list[float]]

SUMMARY = (
    ("pass@1", "{:.1%}", ""),
    ("mean reward", "{:.3f}", ""),
    ("format", "{:.1%}", ""),
    ("mean length", "{:.1f}", "tokens"),
    ("reflective words", "{:.2f}", "per completion"),
)
"""Headline figures of an evaluation: name, how to write it, unit. Of the first two it has one."""


@dataclass
class StageRecord:
    """One stage of a run.

    Attributes:
        name: the stage's name.
        metrics: step -> metric -> value, steps ascending; NaN where a step had none.
        evaluations: step -> path of the evaluation's rows, steps ascending.
        settings: its table of the recipe; empty if the recipe is missing.
    """

    name: str
    metrics: dict[int, dict[str, float]] = field(default_factory=dict)
    evaluations: dict[int, Path] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last_step(self) -> int:
        """The last step logged; 0 if there is none."""
        return max(self.metrics, default=0)

    def names(self) -> list[str]:
        """Return the names of all metrics, in the order first logged."""
        return list(dict.fromkeys(name for values in self.metrics.values() for name in values))

    def series(self, metric: str) -> Series:
        """Return the steps at which a metric is finite, and its values there."""
        points = [(step, values.get(metric, math.nan)) for step, values in self.metrics.items()]
        finite = [(step, value) for step, value in points if math.isfinite(value)]
        return [step for step, _ in finite], [value for _, value in finite]

    def headlines(self) -> dict[int, dict[str, float]]:
        """Return the headline figures of every evaluation: step -> name -> value."""
        found = {step: headline(values) for step, values in self.metrics.items()}
        return {step: figures for step, figures in found.items() if figures}


def load_stages(directory: Path, recipe: Mapping[str, Any]) -> list[StageRecord]:
    """Read the stages of a run in the order they ran.

    A line whose step is lower than the one before restarts the stage from there, as a resumed run
    does: what had been logged beyond that step is dropped.
    """
    stages: dict[str, StageRecord] = {}
    for record in read_metrics(directory):
        name, step = str(record.pop("stage")), int(record.pop("step"))
        stage = stages.setdefault(name, StageRecord(name))
        if step < next(reversed(stage.metrics), step):
            stage.metrics = {old: values for old, values in stage.metrics.items() if old <= step}
        stage.metrics.setdefault(step, {}).update(record)
    tables = list_tables(directory, "eval")
    for name, stage in stages.items():
        found = tables.get(name, {}).items()
        stage.evaluations = {step: path for step, path in found if step <= stage.last_step}
        stage.settings = stage_settings(recipe, name)
    return list(stages.values())


def stage_settings(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a stage's table of the recipe, or an empty one."""
    found = [stage for stage in recipe.get("stage", []) if stage.get("name") == name]
    return found[0] if found else {}


def load_recipe_tables(directory: Path) -> dict[str, Any]:
    """Read `recipe.toml`; empty if it is missing or unreadable."""
    try:
        return tomllib.loads((directory / "recipe.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def load_manifest(directory: Path) -> dict[str, Any]:
    """Read `manifest.json`; empty if it is missing or unreadable."""
    try:
        manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def load_rows(path: Path) -> list[Row]:
    """Read an evaluation's rows; none if the file is unreadable."""
    try:
        return read_table(path)
    except (OSError, ValueError):  # pyarrow's errors are ValueErrors
        return []


def headline(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the headline figures, named as in `SUMMARY`, that an evaluation's metrics hold.

    Args:
        metrics: `eval/...` -> float.
    """
    words = [metrics.get(f"eval/words/{word}", math.nan) for word in REFLECTIVE_WORDS]
    known = [count for count in words if math.isfinite(count)]
    scored = "mean reward" if "eval/mean_reward" in metrics else "pass@1"
    figures = {
        scored: metrics.get("eval/pass@1", math.nan),
        "format": metrics.get("eval/format", metrics.get("eval/format_reward", math.nan)),
        "mean length": metrics.get("eval/mean_length", math.nan),
        "reflective words": sum(known) if known else math.nan,
    }
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def accuracy_column(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return which column says whether an answer is right: the first one named for accuracy."""
    names = list(rows[0]) if rows else []
    return next((name for name in names if "accuracy" in name), None)


@dataclass(frozen=True)
class Share:
    """A number of right answers among those graded."""

    right: int
    graded: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share (Wilson's, which stays within [0, 1])."""
        if not self.graded:
            return 0.0, 1.0
        z2 = 1.959964**2
        share = self.right / self.graded
        centre = (share + z2 / (2 * self.graded)) / (1 + z2 / self.graded)
        variance = share * (1 - share) / self.graded + z2 / (4 * self.graded**2)
        half = math.sqrt(z2 * variance) / (1 + z2 / self.graded)
        return max(0.0, centre - half), min(1.0, centre + half)


def shares_by_level(rows: Sequence[Row]) -> dict[Any, Share]:
    """Return the share of right answers by difficulty level, levels ascending.

    An answer is right if its score is 1; one without a score was not graded and leaves the count.
    Rows without a level are left out.
    """
    column = accuracy_column(rows)
    if column is None:
        return {}
    scores: dict[Any, list[float]] = {}
    for row in rows:
        if row.get("level") is not None and row[column] is not None:
            scores.setdefault(row["level"], []).append(row[column])
    shares = {
        level: Share(sum(s == 1 for s in found), len(found)) for level, found in scores.items()
    }
    return dict(sorted(shares.items(), key=lambda item: level_key(item[0])))


def pair_transcripts(
    before: Sequence[Row], after: Sequence[Row], count: int = 4
) -> list[list[Row]]:
    """Pick the same questions from two evaluations, evenly from easy to hard, not by outcome.

    Args:
        before: rows of the first evaluation.
        after: rows of the last; empty where there was only one.
        count: questions to pick.

    Returns:
        For each question its first sample before and, if there is one, after.
    """
    later = {question_key(row): row for row in reversed(after)}
    questions = list({question_key(row): row for row in reversed(before)}.values())[::-1]
    questions.sort(key=lambda row: level_key(row.get("level")))  # stable: the rest as evaluated
    step = max(1, len(questions) / count)
    picked = [questions[int(index * step)] for index in range(min(count, len(questions)))]
    pairs = [[row, later.get(question_key(row))] for row in picked]
    return [[row for row in pair if row is not None] for pair in pairs]


def question_key(row: Row) -> tuple[Any, Any]:
    """Return what identifies the question of a row."""
    return row.get("prompt"), row.get("answer")

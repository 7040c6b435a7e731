"""What an evaluation says by difficulty: accuracy and length of answers, level by level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

MAX_LEVELS = 20  # a column with more values is no level of difficulty, or needs bins


def rows_by_level(rows: Sequence[Mapping[str, Any]]) -> dict[Any, list[Mapping[str, Any]]]:
    """Return the rows of each level, levels ascending; rows without a level are left out."""
    found: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("level") is not None:
            found.setdefault(row["level"], []).append(row)
    return dict(sorted(found.items(), key=lambda item: level_key(item[0])))


def level_key(level: Any) -> tuple[bool, float, str]:
    """Order levels: numbers by size, then texts."""
    number = isinstance(level, (int, float))
    return not number, float(level) if number else 0.0, str(level)


def level_metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return accuracy and length by level, and the length of right and of wrong answers.

    Args:
        rows: of an evaluation: accuracy (NaN or None where not graded), length in tokens, and
            level where the question has one.

    Returns:
        `eval/level/<level>/pass@1` and `eval/level/<level>/mean_length` of up to 20 levels;
        `eval/mean_length_correct` and `eval/mean_length_wrong`, each where there is such an answer
        and all scores are 0 or 1.
    """
    levels = rows_by_level(rows)
    metrics = {}
    for level, found in levels.items() if len(levels) <= MAX_LEVELS else ():
        graded = [row["accuracy"] for row in found if is_graded(row)]
        if graded:
            metrics[f"eval/level/{level}/pass@1"] = sum(graded) / len(graded)
        lengths = [row["length"] for row in found]
        metrics[f"eval/level/{level}/mean_length"] = sum(lengths) / len(lengths)
    for name, right in (("correct", True), ("wrong", False)) if zero_or_one(rows) else ():
        lengths = [
            row["length"] for row in rows if is_graded(row) and (row["accuracy"] == 1) is right
        ]
        if lengths:
            metrics[f"eval/mean_length_{name}"] = sum(lengths) / len(lengths)
    return metrics


def zero_or_one(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether all scores say right or wrong; of others there is a mean, but no share."""
    return all(row["accuracy"] in (0, 1) for row in rows if is_graded(row))


def is_graded(row: Mapping[str, Any]) -> bool:
    """Tell whether a row has a score."""
    return row["accuracy"] is not None and not math.isnan(row["accuracy"])

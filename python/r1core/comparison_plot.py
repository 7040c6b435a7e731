"""Several stages in one picture: a panel per metric, a line per stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from r1core.panels import COLOURS
from r1core.plots import COLUMNS, STYLE, label_steps, scale_values
from r1core.report_data import StageRecord

SHARES = ("pass@1", "accuracy", "consistency", "format", "_reward", "/mean")


def draw_comparison(
    stages: Sequence[StageRecord], metrics: Sequence[str], path: Path
) -> Path | None:
    """Draw what stages logged beside each other.

    Args:
        stages: from `load_stages`, one line each.
        metrics: one panel each, left to right; those that no stage has are left out.
        path: of the PNG.

    Returns:
        The path; None where there is nothing to draw.
    """
    drawn = [name for name in metrics if any(stage.series(name)[0] for stage in stages)]
    if not drawn:
        return None
    columns = min(COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.9 * columns, 3.0 * rows), layout="constrained")
        for place, metric in enumerate(drawn, start=1):
            axes = figure.add_subplot(rows, columns, place)
            values: list[float] = []
            for stage, colour in zip(stages, COLOURS * len(stages), strict=False):
                steps, found = stage.series(metric)
                marker = "o" if metric.startswith("eval/") else ""
                axes.plot(
                    steps, found, color=colour, marker=marker, markersize=3.5, label=stage.name
                )
                values += found
            axes.set_title(metric)
            label_steps(axes)
            scale_values(axes, "share" if metric.endswith(SHARES) else "", values)
            if place == 1 and len(stages) > 1:
                axes.legend(loc="best")
        figure.savefig(path, dpi=130)
    return path

"""One metric of several stages in one picture: what an experiment compares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from r1core.panels import COLOURS
from r1core.plots import STYLE, label_steps, scale_values
from r1core.report_data import load_recipe_tables, load_stages

MARKERS = "os^Dv*"


def compare_stages(
    directory: Path | str,
    stages: Sequence[str],
    metric: str,
    path: Path | str,
    *,
    title: str = "",
) -> Path | None:
    """Draw a metric against the optimizer step, one curve per stage, as a PNG.

    Args:
        directory: a run directory with `metrics.jsonl`; a run that still goes on will do.
        stages: names of the stages, in the order of the legend.
        metric: as logged: "eval/pass@1", "reward". One that stays within 0 to 1 gets an axis of
            shares.
        path: where the picture goes, overwritten if it is there.
        title: of the picture; the metric if empty.

    Returns:
        The path, or None where no stage has logged the metric, and nothing is written.

    Raises:
        ValueError: a stage that the run has not begun, or a corrupt line of the metrics.
    """
    directory, path = Path(directory), Path(path)
    found = {stage.name: stage for stage in load_stages(directory, load_recipe_tables(directory))}
    for name in stages:
        if name not in found:
            raise ValueError(
                f"compare_stages: stages must be stages of {directory}, which has "
                f"{', '.join(found) or 'none'}; got {name!r}"
            )
    curves = {name: found[name].series(metric) for name in stages}
    curves = {name: series for name, series in curves.items() if series[0]}
    if not curves:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for k, (name, (steps, values)) in enumerate(curves.items()):
            colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
            axes.plot(steps, values, color=colour, marker=marker, markersize=3.5, label=name)
        axes.set_title(title or metric)
        axes.set_ylabel(metric)
        label_steps(axes)
        scale_values(axes, "share", [value for _, values in curves.values() for value in values])
        axes.legend(loc="best")
        figure.savefig(path, dpi=130)
    return path

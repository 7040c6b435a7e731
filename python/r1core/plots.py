"""A stage's curves as PNG files: small multiples over optimizer steps, drawn without a display.

Figures are made without pyplot and styled within a context, so nothing global changes: a notebook
that imports this keeps its backend and its settings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from r1core.panels import Line, Panel, learning_panels, optimisation_panels
from r1core.report_data import Series, StageRecord

PHASES = ("sampling", "rewards", "reference", "forward_backward", "optimizer")
PHASE_COLOURS = ("#4a86c5", "#e6914f", "#a9cbe8", "#5aa97d", "#c9649f", "#d3d8df")
COLUMNS = 3
SMOOTHED_FROM = 150  # steps: beyond this many, a running mean is drawn over the raw values

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.labelcolor": "#4a5361",
    "axes.edgecolor": "#b4bcc8",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e9ecf1",
    "grid.linewidth": 0.8,
    "xtick.color": "#4a5361",
    "ytick.color": "#4a5361",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
}


def write_plots(stage: StageRecord, directory: Path) -> dict[str, Path]:
    """Draw a stage's curves into a run directory.

    Args:
        stage: the stage; metrics that it lacks leave their panel out.
        directory: where `<stage>_learning.png`, `_optimisation.png` and `_time.png` go.

    Returns:
        Name -> path of the figures that had something to show.
    """
    figures = {
        "learning": draw_panels(stage, learning_panels(stage)),
        "optimisation": draw_panels(stage, optimisation_panels()),
        "time": draw_time(stage),
    }
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", stage.name)
    written = {}
    for name, figure in figures.items():
        if figure is not None:
            written[name] = directory / f"{stem}_{name}.png"
            figure.savefig(written[name], dpi=130)
    return written


def draw_panels(stage: StageRecord, panels: Sequence[Panel]) -> Figure | None:
    """Draw the panels that have data in a grid; None if there is none."""
    drawn = [
        (panel, [(line, line_series(stage, line)) for line in panel.lines]) for panel in panels
    ]
    drawn = [(panel, lines) for panel, lines in drawn if any(series[0] for _, series in lines)]
    if not drawn:
        return None
    columns = min(COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)  # inches around each panel
        figure = Figure(figsize=(3.9 * columns, 2.8 * rows), layout=layout)
        for place, (panel, lines) in enumerate(drawn, start=1):
            axes = figure.add_subplot(rows, columns, place)
            draw_panel(axes, panel, [(line, series) for line, series in lines if series[0]])
            for limit in stage.settings.get("length_schedule", []):
                axes.axvline(limit["step"], color="#b4bcc8", linestyle=":")  # it is raised here
    return figure


def line_series(stage: StageRecord, line: Line) -> Series:
    """Return a line's points; `eval/words` is the sum over the reflective words."""
    if line.metric != "eval/words":
        return stage.series(line.metric)
    found = {step: values.get("reflective words") for step, values in stage.headlines().items()}
    totals = {step: total for step, total in found.items() if total is not None}
    return list(totals), list(totals.values())


def draw_panel(axes: Any, panel: Panel, lines: Sequence[tuple[Line, Series]]) -> None:
    """Draw one panel into matplotlib axes."""
    for line, (steps, values) in lines:
        marker = line.marker or ("o" if len(steps) == 1 else "")
        if len(steps) > SMOOTHED_FROM and not line.marker:
            axes.plot(steps, values, color=line.colour, alpha=0.35, linewidth=0.7)
            values = running_mean(values, len(values) // 30)
        axes.plot(steps, values, color=line.colour, marker=marker, markersize=3.5, label=line.label)
    axes.set_title(panel.title)
    axes.set_ylabel(panel.unit)
    label_steps(axes)
    scale_values(axes, panel.scale, [value for _, series in lines for value in series[1]])
    if len(lines) > 1:
        axes.legend(loc="best")


def scale_values(axes: Any, scale: str, values: Sequence[float]) -> None:
    """Set the y axis: a share from 0 to 100 %, a log scale, or from zero where nothing is below.

    A line at zero stays visible above the axis.
    """
    lowest, highest = min(values), max(values)
    if scale == "share" and lowest >= 0 and highest <= 1:
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    elif scale == "log" and lowest > 0:
        axes.set_yscale("log")
    elif lowest >= 0:
        top = highest * 1.1 or 1.0
        axes.set_ylim(-0.03 * top, top)


def label_steps(axes: Any) -> None:
    """Label the x axis: whole optimizer steps."""
    axes.set_xlabel("optimizer step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Return the mean over a centred window, narrower at both ends."""
    half = window // 2
    spans = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(span) / len(span) for span in spans]


def phase_seconds(stage: StageRecord) -> tuple[list[int], dict[str, list[float]]]:
    """Return the steps with a time split, and each phase's seconds there, `other` last.

    `other` is what the step took beyond its phases. Phases that took no time are left out.
    """
    timed = {
        step: values
        for step, values in stage.metrics.items()
        if any(f"time/{phase}" in values for phase in PHASES)
    }
    seconds = {
        phase: [values.get(f"time/{phase}", 0.0) for values in timed.values()] for phase in PHASES
    }
    covered = [sum(phases) for phases in zip(*seconds.values(), strict=True)]
    totals = [values.get("step_time", 0.0) for values in timed.values()]
    other = [max(0.0, total - part) for total, part in zip(totals, covered, strict=True)]
    seconds = {**seconds, "other": other}
    return list(timed), {phase: spent for phase, spent in seconds.items() if any(spent)}


def draw_time(stage: StageRecord) -> Figure | None:
    """Draw where each step's seconds went, as a stacked area; None without times."""
    steps, seconds = phase_seconds(stage)
    if not seconds:
        return None
    colours = dict(zip([*PHASES, "other"], PHASE_COLOURS, strict=True))
    if len(steps) == 1:  # an area needs a width
        steps, seconds = [steps[0], steps[0] + 1], {name: v * 2 for name, v in seconds.items()}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.8, 2.9), layout="constrained")
        axes = figure.add_subplot()
        axes.stackplot(
            steps,
            *seconds.values(),
            labels=[name.replace("_", " + ") for name in seconds],
            colors=[colours[name] for name in seconds],
            edgecolor="white",
            linewidth=0.4,
        )
        axes.set_title("Time of a step")
        axes.set_ylabel("seconds per step")
        axes.set_xlim(steps[0], steps[-1])
        label_steps(axes)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure

"""`report.md` of a run: what was learnt, how training went, and what it ran on.

Works on whatever a run left behind: a missing file or metric leaves its part of the report out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1core.level_plot import level_picture
from r1core.markdown import fence, plain, table, title
from r1core.plots import SMOOTHED_FROM, phase_seconds, write_plots
from r1core.readable import clock_text
from r1core.report_data import (
    SUMMARY,
    Row,
    Share,
    StageRecord,
    accuracy_column,
    load_manifest,
    load_recipe_tables,
    load_rows,
    load_stages,
    pair_transcripts,
    shares_by_level,
)
from r1core.report_pipeline import comparison_sections, cost_section, pipeline_section

WORLD_NOTE = (
    "The base was pretrained on a generated corpus in which worked-out answers are rare. "
    "Reinforcement learning amplifies that long route; it does not conjure reasoning from nothing."
)
Evaluation = tuple[int, list[Row]]  # step and rows

CAPTIONS = {
    "learning": "What was learnt. Markers are evaluations.",
    "optimisation": "How training went.",
    "time": "Where the time went.",
}
SMOOTHED = (
    f"Beyond {SMOOTHED_FROM} steps, thin lines are single steps and thick ones a running mean."
)


def write_report(directory: Path | str, *, note: str | None = None) -> Path:
    """Write `report.md` and its curves into a run directory.

    Args:
        directory: a run directory, finished or not.
        note: a sentence under the title on what the run does and does not show; None takes the one
            on embedded worlds for a run in such a world, and nothing otherwise.

    Returns:
        The path of `report.md`.

    Raises:
        ValueError: no such directory, or its metrics are corrupt before the last line.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ValueError(f"write_report: directory must be a run directory; got {directory}")
    recipe = load_recipe_tables(directory)
    stages = load_stages(directory, recipe)
    if note is None:
        note = WORLD_NOTE if recipe.get("model", {}).get("world") else ""
    blocks = [f"# {plain(recipe.get('name', directory.resolve().name))}"]
    blocks += [f"> {note}"] if note else []
    blocks += overview(stages)
    blocks += pipeline_section(directory, stages, recipe)
    blocks += comparison_sections(directory, stages, recipe)
    blocks += cost_section(directory, stages, recipe)
    for stage in stages:
        blocks += stage_section(stage, directory)
    blocks += settings_section(directory)
    path = directory / "report.md"
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    return path


def overview(stages: Sequence[StageRecord]) -> list[str]:
    """Return the headline table: a row per stage, first evaluation -> last."""
    if not stages:
        return ["No metrics were logged."]
    named = {name for stage in stages for found in stage.headlines().values() for name in found}
    summary = [row for row in SUMMARY if row[0] != "mean reward" or row[0] in named]
    header = ["stage", "steps", *(title(name, unit) for name, _, unit in summary), "time of steps"]
    rows = []
    for stage in stages:
        found = list(stage.headlines().values())
        figures = [change(name, form, found) for name, form, _ in summary]
        seconds = sum(stage.series("step_time")[1])
        rows.append([plain(stage.name), steps_text(stage), *figures, clock_text(seconds)])
    return [
        table(header, rows, align="lr" + "r" * len(summary) + "r"),
        "First evaluation → last. pass@1 is the mean over the sampled answers of each question. "
        "One run with one seed: another seed gives other figures.",
    ]


def change(name: str, form: str, found: Sequence[Mapping[str, float]]) -> str:
    """Return "16.0% → 96.0%" from the headlines of the evaluations, in order."""
    values = [form.format(figures[name]) for figures in found if name in figures]
    return f"{values[0]} → {values[-1]}" if len(values) > 1 else "".join(values) or "–"


def steps_text(stage: StageRecord) -> str:
    """Return the steps done, "37 of 60" where more were planned."""
    planned = stage.settings.get("steps", stage.last_step)
    return str(planned) if planned == stage.last_step else f"{stage.last_step} of {planned}"


def stage_section(stage: StageRecord, directory: Path) -> list[str]:
    """Return the section of one stage."""
    plots = write_plots(stage, directory)
    evaluations = [(step, load_rows(path)) for step, path in stage.evaluations.items()]
    ends = evaluations[:1] + evaluations[1:][-1:]
    blocks = [f"## Stage {plain(stage.name)}"]
    if steps_text(stage) != str(stage.last_step):
        blocks.append(f"**Unfinished:** the log ends at step {steps_text(stage)}.")
    if stage.last_step > SMOOTHED_FROM:
        blocks.append(SMOOTHED)
    return [
        *blocks,
        *image("learning", plots),
        *level_section(ends),
        *level_picture(stage, directory),
        *image("optimisation", plots),
        *time_section(stage, plots),
        *transcript_section(ends),
    ]


def image(name: str, plots: Mapping[str, Path]) -> list[str]:
    """Return a figure with its caption, if it was drawn."""
    return (
        [f"![{CAPTIONS[name]}]({plots[name].name})", f"*{CAPTIONS[name]}*"] if name in plots else []
    )


def level_section(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the table by difficulty of the first and the last evaluation."""
    columns = [(step, shares_by_level(rows)) for step, rows in evaluations]
    levels = list(dict.fromkeys(level for _, shares in columns for level in shares))
    if not levels:
        return []
    cells = [
        [plain(level), *(share_text(shares.get(level)) for _, shares in columns)]
        for level in levels
    ]
    cells.append(["all", *(share_text(total(shares.values())) for _, shares in columns)])
    return [
        "### By difficulty",
        table(["level", *(f"step {step}" for step, _ in columns)], cells, align="lrr"),
        "Right answers of those graded, their share, and its 95 % binomial interval, which takes "
        "answers as independent: with several samples of one question it is too narrow.",
    ]


def total(shares: Iterable[Share]) -> Share:
    """Return the sum of shares."""
    found = list(shares)
    return Share(sum(share.right for share in found), sum(share.graded for share in found))


def share_text(share: Share | None) -> str:
    """Return "31/100 = 31 % [23, 41]"."""
    if share is None or not share.graded:
        return "–"
    low, high = share.interval
    percent = 100 * share.right / share.graded
    return f"{share.right}/{share.graded} = {percent:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def time_section(stage: StageRecord, plots: Mapping[str, Path]) -> list[str]:
    """Return where the time of the steps went."""
    steps, seconds = phase_seconds(stage)
    if not seconds:
        return []
    means = {name: sum(spent) / len(steps) for name, spent in seconds.items()}
    whole = sum(means.values())
    rows = [
        [name.replace("_", " + "), f"{mean:.3f}", f"{mean / whole:.0%}"]
        for name, mean in means.items()
    ]
    rows.append(["step", f"{whole:.3f}", "100%"])
    header = ["phase", "mean seconds per step", "share"]
    blocks = ["### Time", *image("time", plots), table(header, rows, align="lrr")]
    speeds = sorted(stage.series("tokens_per_second")[1])
    if speeds:
        median = speeds[len(speeds) // 2]
        blocks.append(f"Median over steps: {median:,.0f} completion tokens per second.")
    return blocks


def transcript_section(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the same questions as the first and the last evaluation answered them."""
    if not evaluations:
        return []
    before, after = evaluations[0][1], evaluations[-1][1] if len(evaluations) > 1 else []
    pairs = pair_transcripts(before, after)
    if not pairs:
        return []
    column = accuracy_column(before)
    blocks = [
        "### Transcripts",
        "Questions spaced evenly from easy to hard, not chosen by outcome; the first sample each.",
    ]
    for number, pair in enumerate(pairs, start=1):
        answer = pair[0].get("answer")
        expected = "" if answer is None else f" (expected: {plain(answer)})"
        blocks += [f"**Question {number}**{expected}", fence(str(pair[0].get("prompt", "")))]
        for (step, _), row in zip(evaluations, pair, strict=False):
            verdict = verdict_text(row.get(column)) if column else ""
            blocks += [f"Step {step}{verdict}:", fence(str(row.get("completion", "")))]
    return blocks


def verdict_text(score: Any) -> str:
    """Return ", right", ", wrong", or the score of a partly right answer."""
    if score is None:
        return ", not graded"
    return {0: ", wrong", 1: ", right"}.get(score, f", score {score:.2f}")


def settings_section(directory: Path) -> list[str]:
    """Return the manifest and the resolved recipe."""
    blocks = []
    manifest = load_manifest(directory)
    if manifest:
        rows = [[plain(key), plain(value)] for key, value in flatten(manifest)]
        blocks += ["## What it ran on", table(["", ""], rows, align="ll")]
    try:
        recipe = (directory / "recipe.toml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return blocks
    return [
        *blocks,
        "## Settings",
        "The resolved recipe, every default written out.",
        fence(recipe, "toml"),
    ]


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yield the leaves of nested tables as dotted keys and texts."""
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from flatten(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item if isinstance(item, str) else json.dumps(item)

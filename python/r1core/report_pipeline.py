"""What a report says of a run of several stages: picture, table of stages, costs, transcripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1core.comparison_plot import draw_comparison
from r1core.cost import Cost, stage_costs
from r1core.markdown import fence, picture, plain, table
from r1core.pipeline_plot import draw_pipeline
from r1core.readable import clock_text
from r1core.report_data import Row, StageRecord, load_manifest, load_rows
from r1core.stage_table import StageTable, best, cell, label, stage_table
from r1core.tracking import benchmark_table


def pipeline_section(
    directory: Path, stages: Sequence[StageRecord], recipe: Mapping[str, Any]
) -> list[str]:
    """Return the picture of the pipeline and, where the run has benchmarks, the table of stages."""
    found = stage_table(stages)
    drawn = draw_pipeline(recipe, headlines(found), directory / "pipeline.png")
    caption = "Solid: starts from. Dashed: learns from, or is rewarded by."
    if not found.is_empty:
        benchmark, measured, _ = found.rows[0]
        caption += f" Figures: {benchmark}, {label(measured)}."
    return [
        *(["## Pipeline", *picture(drawn, caption)] if drawn else []),
        *stage_table_section(found),
        *answers_section(directory, found),
    ]


def headlines(found: StageTable) -> dict[str, str]:
    """Return each policy's figure of the first row: "98.0 %"."""
    if found.is_empty:
        return {}
    _, measured, values = found.rows[0]
    cells = [cell(measured, value) for value in values]
    return {name: f"{text} %" for name, text in zip(found.stages, cells, strict=True)}


def stage_table_section(found: StageTable) -> list[str]:
    """Return the table of stages, if the run has benchmarks."""
    if found.is_empty:
        return []
    rows, last = [], ""
    for benchmark, measured, values in found.rows:
        top = best(values) if benchmark != last else []
        cells = [cell(measured, value) for value in values]
        cells = [f"**{text}**" if k in top else text for k, text in enumerate(cells)]
        rows.append([plain(benchmark), plain(label(measured)), *cells])
        last = benchmark
    header = ["benchmark", "%", *map(plain, found.stages)]
    return [
        "## Stages",
        table(header, rows, align="ll" + "r" * len(found.stages)),
        "Means over the sampled answers of each question, in per cent; lengths in tokens. The best "
        "policies of each benchmark, by its first row, are bold. One run with one seed.",
    ]


def answers_section(directory: Path, found: StageTable) -> list[str]:
    """Return what every policy answered to one question of each benchmark."""
    blocks = []
    for benchmark in dict.fromkeys(name for name, _, _ in found.rows):
        paths = {stage: benchmark_table(directory, stage, benchmark) for stage in found.stages}
        rows = {stage: load_rows(path) for stage, path in paths.items() if path.is_file()}
        blocks += same_question(benchmark, rows)
    return ["## One question, every policy", *blocks] if blocks else []


def same_question(benchmark: str, rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return the first answer of each policy to the benchmark's middle question."""
    firsts = {
        stage: [row for row in found if row.get("sample") == 0] for stage, found in rows.items()
    }
    count = min((len(found) for found in firsts.values()), default=0)
    if not count:
        return []
    asked = next(iter(firsts.values()))[count // 2]
    blocks = [f"**{plain(benchmark)}**", fence(str(asked.get("prompt", "")))]
    for stage, found in firsts.items():
        score = found[count // 2].get("accuracy")
        mark = "" if score is None else f" ({score:.2g})"
        blocks += [f"{plain(stage)}{mark}:", fence(str(found[count // 2].get("completion", "")))]
    return blocks


def comparison_sections(
    directory: Path, stages: Sequence[StageRecord], recipe: Mapping[str, Any]
) -> list[str]:
    """Return the pictures that a recipe asks for, each with the figures at its end."""
    records = {stage.name: stage for stage in stages}
    blocks = []
    for number, asked in enumerate(recipe.get("comparison", []), start=1):
        chosen = [records[name] for name in asked["stages"] if name in records]
        path = draw_comparison(chosen, asked["metrics"], directory / f"comparison_{number}.png")
        if path is None:
            continue
        rows = [
            [plain(stage.name), *(last_text(stage, name) for name in asked["metrics"])]
            for stage in chosen
        ]
        header = ["at the end of", *map(plain, asked["metrics"])]
        title = f"## {plain(asked['name'])}"
        blocks += [title, *picture(path, "A line per stage.")]
        blocks.append(table(header, rows, align="l" + "r" * len(asked["metrics"])))
    return blocks


def last_text(stage: StageRecord, metric: str) -> str:
    """Return a metric's last value."""
    values = stage.series(metric)[1]
    return f"{values[-1]:.3g}" if values else "–"


def cost_section(
    directory: Path, stages: Sequence[StageRecord], recipe: Mapping[str, Any]
) -> list[str]:
    """Return the ledger of costs."""
    parameters = int(load_manifest(directory).get("model", {}).get("parameters", 0))
    costs = stage_costs(directory, stages, recipe, parameters)
    if not any(cost.flop for cost in costs):
        return []
    header = ["stage", "sampled", "scored", "trained", "evaluated", "TFLOP", "time", "GPU-hours"]
    rows = [cost_row(cost) for cost in costs]
    if len(costs) > 1:
        rows.append(total_row(costs))
    return [
        "## Cost",
        table(header, rows, align="l" + "r" * 7),
        "Tokens by what was done with them. TFLOP: 2 operations per parameter and token forward, 4 "
        "backward, attention left out. GPU-hours: what these operations would take an H100 at 40 % "
        "of its peak. The time is this machine's; pretraining of a world's base is not in it.",
    ]


def cost_row(cost: Cost) -> list[str]:
    """Return a stage's row of the ledger."""
    tokens = (cost.sampled, cost.forward, cost.trained, cost.evaluated)
    return [plain(cost.stage), *map(count_text, tokens), *effort(cost.flop, cost.seconds)] + [
        f"{cost.gpu_hours:.2g}"
    ]


def total_row(costs: Sequence[Cost]) -> list[str]:
    """Return the ledger's last row."""
    tokens = [
        sum(getattr(cost, name) for cost in costs)
        for name in ("sampled", "forward", "trained", "evaluated")
    ]
    flop, seconds = sum(cost.flop for cost in costs), sum(cost.seconds for cost in costs)
    hours = sum(cost.gpu_hours for cost in costs)
    return ["all", *map(count_text, tokens), *effort(flop, seconds), f"{hours:.2g}"]


def effort(flop: float, seconds: float) -> list[str]:
    """Return operations in TFLOP and the time, as texts."""
    return [f"{flop / 1e12:,.3g}", clock_text(seconds)]


def count_text(tokens: float) -> str:
    """Return a number of tokens, none as a dash."""
    return f"{tokens:,.0f}" if tokens else "–"

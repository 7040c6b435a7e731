"""A plan as tables in the terminal, or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1core.plan.advice import Advice
from r1core.plan.recipe_plan import USABLE, RecipePlan
from r1core.plan.stage_plan import StagePlan

GIB = 2**30


def as_json(plan: RecipePlan, advice: Sequence[Advice]) -> dict[str, Any]:
    """Return everything a plan says; sizes in bytes."""
    by_stage = {found.stage: found for found in advice}
    return {
        "recipe": plan.recipe,
        "device": {
            "name": plan.device.name,
            "kind": plan.kind,
            "bytes": plan.device.memory,
            "usable_bytes": plan.room,
        },
        "prompt_tokens": plan.prompt,
        "fits": all(plan.fits(stage) for stage in plan.stages),
        "stages": [stage_json(plan, stage, by_stage.get(stage.name)) for stage in plan.stages],
    }


def stage_json(plan: RecipePlan, stage: StagePlan, advice: Advice | None) -> dict[str, Any]:
    """Return what a plan says of one stage."""
    found: dict[str, Any] = {
        "name": stage.name,
        "kind": stage.kind,
        "peak_bytes": stage.peak.total,
        "peak": stage.peak.name,
        "fits": plan.fits(stage),
        "micro_batch_tokens": None if stage.tokens is None else stage.tokens.rows,
        "moments": {moment.name: dict(moment.parts) for moment in stage.moments},
    }
    if advice is not None:
        found["changes"] = [
            {"set": list(x.keys), "peak_bytes": x.peak, "fits": x.fits} for x in advice.singles
        ]
        found["together"] = {"set": list(advice.together), "peak_bytes": advice.peak}
    return found


def print_plan(plan: RecipePlan, advice: Sequence[Advice], console: Console) -> None:
    """Print the stages, the parts of the largest, and what to change where one does not fit."""
    room = f"{gib(plan.device.memory)} on {plan.device.name}, of which a run may use {USABLE:.0%}"
    console.print(Text(f"{plan.recipe}: {room}; prompts of {plan.prompt} tokens\n"))
    if len(plan.stages) > 1:
        console.print(stage_list(plan), "")
    console.print(part_table(plan.worst))
    for found in advice:
        console.print()
        print_advice(found, console)


def stage_list(plan: RecipePlan) -> Table:
    """Return a line per stage."""
    table = Table("stage", "kind", box=None)
    for name in ("weights", "peak"):
        table.add_column(name, justify="right")
    table.add_column("at")
    table.add_column("")
    for stage in plan.stages:
        peak = stage.peak
        table.add_row(
            stage.name,
            stage.kind,
            gib(peak.parts["weights"]),
            gib(peak.total),
            peak.name,
            verdict(plan.fits(stage)),
        )
    return table


def part_table(stage: StagePlan) -> Table:
    """Return what a stage holds, a column per moment; the peak in bold."""
    table = Table(box=None, title=f"{stage.name}, by part", title_justify="left")
    table.add_column("")
    for moment in stage.moments:
        style = "bold" if moment is stage.peak else ""
        table.add_column(moment.name, justify="right", style=style)
    names = dict.fromkeys(name for moment in stage.moments for name in moment.parts)
    for name in names:
        sizes = [moment.parts.get(name, 0) for moment in stage.moments]
        if any(sizes):
            table.add_row(name, *(gib(size) if size else "" for size in sizes))
    table.add_section()
    table.add_row("all", *(gib(moment.total) for moment in stage.moments))
    return table


def print_advice(advice: Advice, console: Console) -> None:
    """Print what to change in one stage: each change by itself, then what is enough."""
    table = Table("change", box=None, title=f"{advice.stage} does not fit", title_justify="left")
    table.add_column("peak", justify="right")
    table.add_column("")
    for change in advice.singles:
        table.add_row(Text(settings(change.keys)), gib(change.peak), verdict(change.fits))
    console.print(table)
    if advice.together:
        line = f"Enough: {settings(advice.together)} ({gib(advice.peak)})"
    else:
        line = "No change of the recipe's keys is enough: a smaller model, or a larger device"
    console.print(Text(line), soft_wrap=True)


def settings(keys: Sequence[str]) -> str:
    """Return keys as the command line takes them."""
    return " ".join(
        f"--set '{key}'" if " " in key or "[" in key else f"--set {key}" for key in keys
    )


def verdict(fits: bool) -> Text:
    """Return "fits" or "too large"."""
    return Text("fits", "green") if fits else Text("too large", "red")


def gib(size: float) -> str:
    """Return a size for people to read."""
    if size < 0.095 * GIB:
        return f"{size / 2**20:.1f} MiB"
    return f"{size / GIB:.1f} GiB" if size >= 9.95 * GIB else f"{size / GIB:.2f} GiB"

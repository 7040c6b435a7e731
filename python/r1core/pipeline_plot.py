"""The picture of a run's pipeline: its models and stages, and what each is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from r1core.plots import STYLE

Edge = tuple[str, str, bool]  # from, to, and whether it is a start (else data or a reward)

MODEL, DATA, REWARD = "model", "data", "reward"
LANES = {MODEL: 0.0, DATA: -1.25, REWARD: -2.5}
KINDS = {
    "reasoning_rl": ("reinforcement learning", MODEL, "#cfe1f5"),
    "preference_rl": ("RL with reward models", MODEL, "#cfe1f5"),
    "ppo": ("PPO with a critic", MODEL, "#cfe1f5"),
    "sft": ("fine-tuning", MODEL, "#d5ecdd"),
    "distill": ("distillation", MODEL, "#d5ecdd"),
    "evaluate": ("evaluation", MODEL, "#eceff3"),
    "cold_start": ("cold start", DATA, "#fbe9cf"),
    "rejection_sampling": ("rejection sampling", DATA, "#fbe9cf"),
    "preferences": ("preferences", DATA, "#fbe9cf"),
    "reward_model": ("reward model", REWARD, "#eddcf3"),
    "base": ("where it starts", MODEL, "#eceff3"),
}
"""Kind of a stage -> its caption, lane and colour."""
OTHER = ("", MODEL, "#eceff3")
COLUMN, WIDTH, HEIGHT, STACKED = 1.75, 1.4, 0.62, 0.78


def draw_pipeline(recipe: Mapping[str, Any], figures: Mapping[str, str], path: Path) -> Path | None:
    """Draw a recipe's stages as boxes, and what each starts from and uses as arrows.

    Args:
        recipe: the tables of a resolved recipe.
        figures: stage -> what to write in its box, a headline figure.
        path: of the PNG.

    Returns:
        The path; None for a recipe of fewer than two stages, which needs no picture.
    """
    stages = {stage["name"]: stage for stage in recipe.get("stage", []) if "name" in stage}
    if len(stages) < 2:
        return None
    edges = edges_of(list(stages.values()))
    kinds = {name: "base" for name, _, _ in edges} | {
        name: stage.get("kind", "") for name, stage in stages.items()
    }
    places = place(kinds, edges)
    with matplotlib.rc_context(STYLE):
        right, low = max(x for x, _ in places.values()), min(y for _, y in places.values())
        figure = Figure(figsize=(right + 1.9, 2.3 - low), layout="constrained")
        axes = figure.add_subplot()
        for edge in edges:
            draw_arrow(axes, edge, places)
        for name, kind in kinds.items():
            draw_box(axes, name, kind, figures.get(name, ""), places[name])
        axes.set_xlim(-WIDTH, right + WIDTH)
        axes.set_ylim(low - 0.6, 1.2)
        axes.axis("off")
        figure.savefig(path, dpi=130)
    return path


def edges_of(stages: Sequence[Mapping[str, Any]]) -> list[Edge]:
    """Return what each stage starts from, and which stages' data and rewards it uses."""
    edges: list[Edge] = []
    for stage in stages:
        edges.append((stage.get("from", "base"), stage["name"], True))
        edges += [(used, stage["name"], False) for used in used_stages(stage)]
    return edges


def used_stages(table: Any) -> list[str]:
    """Return every `stage = "name"` within a stage's table, in order."""
    if isinstance(table, Mapping):
        own = [table["stage"]] if isinstance(table.get("stage"), str) else []
        return list(dict.fromkeys([*own, *(x for v in table.values() for x in used_stages(v))]))
    if isinstance(table, list):
        return list(dict.fromkeys(x for item in table for x in used_stages(item)))
    return []


def place(kinds: Mapping[str, str], edges: Sequence[Edge]) -> dict[str, tuple[float, float]]:
    """Return where the boxes go: right of all that they are made from, a lane for each sort."""
    column = dict.fromkeys(kinds, 0)
    for _ in kinds:  # longest path; recipes name only earlier stages
        for source, target, _ in edges:
            column[target] = max(column[target], column[source] + 1)
    taken: dict[tuple[int, str], int] = {}
    places = {}
    for name, kind in kinds.items():
        lane = KINDS.get(kind, OTHER)[1]
        row = taken.get((column[name], lane), 0)
        taken[column[name], lane] = row + 1
        places[name] = (COLUMN * column[name], LANES[lane] - STACKED * row)
    return places


def draw_arrow(axes: Any, edge: Edge, places: Mapping[str, tuple[float, float]]) -> None:
    """Draw one arrow: solid to what starts there, dashed to what uses it."""
    source, target, starts = edge
    (x0, y0), (x1, y1) = places[source], places[target]
    bent = y0 == y1 and x1 - x0 > 1.5 * COLUMN  # over the boxes between them
    axes.annotate(
        "",
        xy=(x1, y1 + HEIGHT / 2) if bent else (x1 - WIDTH / 2, y1),
        xytext=(x0, y0 + HEIGHT / 2) if bent else (x0 + WIDTH / 2, y0),
        arrowprops={
            "arrowstyle": "-|>",
            "color": "#4a5361" if starts else "#b07d2b",
            "linestyle": "-" if starts else (0, (4, 2)),
            "linewidth": 1.3,
            "connectionstyle": "arc3,rad=-0.18" if bent else "arc3,rad=0",
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def draw_box(axes: Any, name: str, kind: str, figure: str, at: tuple[float, float]) -> None:
    """Draw one box: the stage's name, its kind, and its headline figure."""
    caption, _, colour = KINDS.get(kind, OTHER)
    x, y = at
    axes.add_patch(
        FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.09",
            facecolor=colour,
            edgecolor="#8a94a3",
            zorder=4,  # over the arrows
        )
    )
    lines = f"{caption}\n{figure}" if figure else caption
    axes.text(x, y + 0.15, name, ha="center", va="center", weight="bold", size=9, zorder=5)
    small = {"size": 6.8, "color": "#4a5361"}
    axes.text(x, y - 0.12, lines, ha="center", va="center", zorder=5, **small)

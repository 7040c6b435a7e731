"""The cost ledger of a run: tokens, floating-point operations, seconds, GPU-hours, by stage.

A token costs 2 operations per parameter forward and 4 backward (Kaplan et al. 2020, arXiv
2001.08361, table 1); attention over long contexts comes on top and is not counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from r1core.report_data import StageRecord

FORWARD, BACKWARD = 2, 4  # operations per parameter and token
GPU_FLOP_PER_SECOND = 0.4 * 989e12
"""40 % of an H100's dense bfloat16 peak: what large runs reach in training."""


@dataclass(frozen=True)
class Cost:
    """What a stage cost.

    Attributes:
        stage: its name.
        parameters: of the model that it ran.
        sampled: tokens drawn to train on or to keep, prompts counted once per completion.
        forward: tokens that a reference or an earlier policy scored.
        trained: tokens of forward and backward passes.
        evaluated: tokens of evaluations and benchmarks, prompts left out.
        seconds: of steps, evaluations and benchmarks; loading and saving left out.
    """

    stage: str
    parameters: int
    sampled: float
    forward: float
    trained: float
    evaluated: float
    seconds: float

    @property
    def flop(self) -> float:
        """Floating-point operations."""
        passes = FORWARD * (self.sampled + self.forward + self.evaluated)
        return self.parameters * (passes + (FORWARD + BACKWARD) * self.trained)

    @property
    def gpu_hours(self) -> float:
        """Hours of an H100 at 40 % of its peak: an estimate by operations alone."""
        return self.flop / GPU_FLOP_PER_SECOND / 3600


def stage_costs(
    directory: Path, stages: Sequence[StageRecord], recipe: Mapping[str, Any], parameters: int
) -> list[Cost]:
    """Return the cost of each stage that a run has logged.

    Args:
        directory: the run directory.
        stages: its stages, from `load_stages`.
        recipe: its resolved recipe; empty where that is missing.
        parameters: of the base, for what has not been written yet.
    """
    return [
        stage_cost(stage, stage_parameters(directory, stage.name, recipe, parameters))
        for stage in stages
    ]


def stage_cost(stage: StageRecord, parameters: int) -> Cost:
    """Return the cost of one stage."""
    tokens = last(stage, "num_tokens")
    sampled, forward, trained = passes_over(tokens, stage.settings)
    return Cost(
        stage=stage.name,
        parameters=parameters,
        sampled=sampled,
        forward=forward,
        trained=trained,
        evaluated=evaluated_tokens(stage),
        seconds=total(stage, "step_time") + total(stage, "eval/runtime") + benchmark_seconds(stage),
    )


def passes_over(tokens: float, settings: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return how many tokens a stage sampled, scored forward only, and trained on."""
    kind = settings.get("kind", "reasoning_rl")
    if kind in ("sft", "distill", "reward_model"):
        return 0.0, 0.0, tokens
    if kind not in ("reasoning_rl", "preference_rl", "ppo"):
        return tokens, 0.0, 0.0
    iterations = settings.get("num_iterations", 1)
    updates = settings.get("minibatches", 1) * iterations
    reference = iterations if settings.get("loss", {}).get("beta", 0) > 0 else 0
    critic = kind == "ppo"  # as large as the policy: it scores each batch once and learns beside it
    forward = reference + (updates > 1) + critic
    return tokens, tokens * forward, tokens * iterations * (1 + critic)


def evaluated_tokens(stage: StageRecord) -> float:
    """Return the tokens of a stage's evaluations and of its policy's benchmarks."""
    tables = sum(sum_of(path, "length") for path in stage.evaluations.values())
    return tables + sum(
        values[name]
        for values in stage.metrics.values()
        for name in values
        if name.startswith("benchmark/") and name.endswith("/num_tokens")
    )


def sum_of(path: Path, column: str) -> float:
    """Return the sum of a table's column; 0 where either is missing."""
    try:
        values = pq.read_table(path, columns=[column], memory_map=False)[column].to_pylist()
    except (OSError, ValueError, KeyError):  # pyarrow's errors are ValueErrors
        return 0.0
    return float(sum(value for value in values if value is not None))


def benchmark_seconds(stage: StageRecord) -> float:
    """Return the seconds of the benchmarks of a stage's policy."""
    names = [name for name in stage.names() if name.startswith("benchmark/")]
    return sum(total(stage, name) for name in names if name.endswith("/runtime"))


def total(stage: StageRecord, metric: str) -> float:
    """Return the sum of a metric over the steps."""
    return sum(stage.series(metric)[1])


def last(stage: StageRecord, metric: str) -> float:
    """Return a metric's last value; 0 where there is none."""
    values = stage.series(metric)[1]
    return values[-1] if values else 0.0


def stage_parameters(directory: Path, name: str, recipe: Mapping[str, Any], base: int) -> int:
    """Return the parameters of the model that a stage ran: what it wrote, or what it started from.

    Args:
        directory: the run directory.
        name: of the stage.
        recipe: the resolved recipe.
        base: what to return where nothing is known.
    """
    starts = {stage.get("name"): stage.get("from") for stage in recipe.get("stage", [])}
    seen: str | None = name
    while seen is not None:
        if found := parameter_count(directory / "stages" / seen):
            return found
        seen = starts.get(seen)
    return base


def parameter_count(directory: Path) -> int:
    """Return the parameters in a directory's safetensors files, from their headers; 0 if none."""
    return sum(header_count(path) for path in directory.glob("*.safetensors"))


def header_count(path: Path) -> int:
    """Return the elements of all tensors of a safetensors file."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(x["shape"]) for name, x in header.items() if name != "__metadata__")

"""What `cold_start` and `rejection_sampling` share: sample, grade, select, write rows down.

Shapes: P prompts, G samples per prompt, N = P * G.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from r1core.policy import Policy
from r1core.rewards import RewardSpec, score_rollouts
from r1core.sampling import sample_groups
from r1core.selection import Selection, SelectionConfig, select
from r1core.stages.metrics import Clock, rollout_metrics
from r1core.stages.questions import Batch
from r1core.types import RewardTable, Rollouts, SamplingParams, StepStats

Row = dict[str, Any]
Rewrite = Callable[[Sequence[Row]], Sequence[str | None]]
"""Rewrites the completions of some rows; None drops the row."""


class SampledConfig(BaseModel):
    """Settings of every stage that makes a data set of samples.

    Attributes:
        sampling: how completions are drawn; n is the number of samples per prompt.
        questions_per_step: prompts sampled at a time; what is lost if the run is stopped.
    """

    model_config = ConfigDict(extra="forbid")

    sampling: SamplingParams = SamplingParams(n=4)
    questions_per_step: int = Field(64, ge=1)


class SamplingStageConfig(SampledConfig):
    """Settings of a stage that keeps the good ones, and those of `SampledConfig`.

    Attributes:
        selection: which completions are kept.
    """

    selection: SelectionConfig = SelectionConfig()


@dataclass
class DatasetStats(StepStats):
    """What one round of sampling brought.

    Attributes:
        rows: those kept, ready to imitate: prompt, completion, the data's columns, provenance.
    """

    rows: list[Row] = field(default_factory=list)


def sample_rows(
    policy: Policy,
    batches: Iterable[Batch],
    rewards: Sequence[RewardSpec],
    config: SamplingStageConfig,
    rewrite: Rewrite | None = None,
) -> Iterator[DatasetStats]:
    """Sample completions, keep the good ones, rewrite them where asked; a round at a time.

    Args:
        policy: the sampler.
        batches: the questions of each round.
        rewards: what grades; "accuracy", or else the first, says what is correct.
        config: the settings.
        rewrite: turns kept rows into what is to be imitated.

    Yields:
        The rows of each round and its metrics: `kept`, `rejected/<reason>`, lengths and scores.
    """
    for step, batch in enumerate(batches, start=1):
        clock = Clock()
        with clock.phase("sampling"):
            rollouts = sample_groups(policy, batch.prompts, config.sampling, prompt_uids=batch.uids)
        with clock.phase("rewards"):
            table = score_rollouts(rollouts, rewards, batch.columns)
            selection = select(rollouts, table, batch.columns, config.selection)
        rows = rows_of(rollouts, table, batch.columns, selection)
        if rewrite is not None:
            with clock.phase("rewrite"):
                rows, lost = rewritten(rows, rewrite)
            selection.rejected["rewrite"] = lost
        metrics = rollout_metrics(rollouts, table) | {"kept": float(len(rows))}
        metrics |= {f"rejected/{name}": float(n) for name, n in selection.rejected.items()}
        yield DatasetStats(
            step,
            metrics | clock.metrics(rollouts),
            rollouts=rollouts,
            rewards=table,
            columns=batch.columns,
            rows=rows,
        )


def rows_of(
    rollouts: Rollouts,
    table: RewardTable,
    columns: Mapping[str, Sequence[Any]],
    selection: Selection,
) -> list[Row]:
    """Return the kept completions as rows, each with where it comes from."""
    texts, G = rollouts.texts(), rollouts.group_size
    asked = columns.get("prompt", rollouts.prompts)
    rows = []
    for n in selection.kept:
        p, sample = divmod(n, G)
        row = {name: values[p] for name, values in columns.items() if name not in ("text", "parts")}
        row |= {"prompt": asked[p], "completion": texts[n]}
        row["provenance"] = {
            "prompt_uid": int(rollouts.prompt_uids[p]),
            "sample": sample,
            "seed": rollouts.sampling.seed,
            "temperature": rollouts.sampling.temperature,
            "tokens": int(rollouts.lengths_N[n]),
            "reward": round(float(table.total_N[n]), 6),
        }
        rows.append(row)
    return rows


def rewritten(rows: Sequence[Row], rewrite: Rewrite) -> tuple[list[Row], int]:
    """Return the rows with their new completions, and how many were dropped."""
    found = []
    for row, text in zip(rows, rewrite(rows), strict=True):
        if text is None:
            continue
        provenance = row["provenance"] | {"rewritten_from": row["completion"]}
        found.append(row | {"completion": text, "provenance": provenance})
    return found, len(rows) - len(found)

"""Calls reward functions as TRL does and sums what they say.

Shapes: P prompts, G rollouts per prompt, N = P * G (row n = p * G + g).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from r1core.rewards.call import call_all
from r1core.rewards.spec import RewardFunction, RewardSpec, reward_error
from r1core.rewards.worker import checked_scores
from r1core.types import RewardTable, Rollouts

RESERVED = ("prompt", "prompts", "completion", "completions", "completion_ids")
"""Columns that do not reach a reward under their own name: the arguments take their place."""


@dataclass(frozen=True)
class TrainerState:
    """What rewards are told of the training, under the names of TRL's `trainer_state`.

    Attributes:
        global_step: optimizer steps taken so far.
        max_steps: those of the whole stage; 0 where there is no such number.
    """

    global_step: int = 0
    max_steps: int = 0


def score_rollouts(
    rollouts: Rollouts,
    rewards: Sequence[RewardSpec | RewardFunction | str],
    columns: Mapping[str, Sequence[Any]] | None = None,
    *,
    trainer_state: Any = None,
) -> RewardTable:
    """Grade every completion by every reward function.

    Each function is called once, on all N completions, by keyword: prompts, completions,
    completion_ids, trainer_state, log_extra, log_metric and the columns, as far as its signature
    takes them. Functions run one after the other; `async def` ones run together. Completions are
    texts, or `[{"role": "assistant", "content": text}]` where the prompt is a list of messages;
    what the template opened (`<think>`) is back in front of them. Without a tokenizer they are the
    token ids.

    A function that is isolated runs in worker processes and gets plain data alone: neither
    trainer_state nor log_extra nor log_metric. Where it hangs or crashes it abstains.

    Args:
        rollouts: N completions of P prompts; their tokenizer turns them into text.
        rewards: specs, or anything `RewardSpec.resolve` takes.
        columns: dataset columns, P values each, repeated G times for the functions. A column
            "prompt" holds the prompts as they were before templating: rewards see these.
        trainer_state: passed on to functions that ask for it; None is a `TrainerState` at step 0.

    Returns:
        Scores by function name (NaN where it abstained with None or NaN), and the sum of weight
        times score over the functions that did not abstain; NaN in rows where all did.

    Raises:
        ValueError: no reward, a column of the wrong length, a function that needs a column the data
            does not have, or one that returns anything but N finite numbers or None.
        RuntimeError: a function raised (ValueError if that is what it raised); the message names
            the function and `__cause__` is the error.
    """
    specs = unique_names([RewardSpec.resolve(reward) for reward in rewards])
    if not specs:
        raise ValueError("score_rollouts: rewards must hold at least one function; got none")
    logged = Logged(rollouts.num_rows)
    arguments = build_arguments(rollouts, columns or {})
    arguments |= {
        "trainer_state": TrainerState() if trainer_state is None else trainer_state,
        "log_extra": logged.log_extra,
        "log_metric": logged.log_metric,
    }
    calls = call_all(specs, arguments)
    scores = {
        spec.name: score_tensor(spec.name, result, rollouts.num_rows)
        for spec, result in zip(specs, calls.results, strict=True)
    }
    weights = {spec.name: spec.weight for spec in specs}
    return RewardTable(
        scores=scores,
        weights=weights,
        total_N=weighted_sum(scores, weights),
        group_size=rollouts.group_size,
        seconds=calls.seconds,
        timeouts=calls.timeouts,
        crashes=calls.crashes,
        extra=logged.extra,
        metrics={name: sum(values) / len(values) for name, values in logged.metrics.items()},
    )


def build_arguments(rollouts: Rollouts, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return the keyword arguments that describe the N completions."""
    G, N = rollouts.group_size, rollouts.num_rows
    for name, values in columns.items():
        if len(values) * G != N:
            raise ValueError(
                f"score_rollouts: columns must have {N // G} values, one per prompt; "
                f"got {len(values)} in {name!r}"
            )
    prompts = columns.get("prompt", rollouts.prompts)
    repeated = {
        name: [value for value in values for _ in range(G)]
        for name, values in columns.items()
        if name not in RESERVED
    }
    return repeated | {
        "prompts": [prompt for prompt in prompts for _ in range(G)],
        "completions": build_completions(rollouts, prompts),
        "completion_ids": rollouts.completion_ids(),
    }


def build_completions(rollouts: Rollouts, prompts: Sequence[Any]) -> list[Any]:
    """Return N texts, or messages where the prompt is one, or token ids without a tokenizer."""
    if rollouts.tokenizer is None:
        return rollouts.completion_ids()
    prefixes = rollouts.completion_prefixes or [""] * len(prompts)
    completions: list[Any] = []
    for n, text in enumerate(rollouts.texts()):
        p = n // rollouts.group_size
        content = prefixes[p] + text
        messages = is_messages(prompts[p])
        completions.append([{"role": "assistant", "content": content}] if messages else content)
    return completions


def is_messages(prompt: Any) -> bool:
    """Tell a conversation from a text or a list of token ids."""
    return isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], Mapping)


def score_tensor(name: str, result: Any, num_rows: int) -> Tensor:
    """Return a function's result as float32 [N], NaN for None; see `score_rollouts` for errors."""
    try:
        scores = checked_scores(result, num_rows)
    except ValueError as error:
        raise reward_error(name, str(error), ValueError) from None
    return torch.tensor([math.nan if s is None else s for s in scores], dtype=torch.float32)


def weighted_sum(scores: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum weight * score over the functions that did not abstain; NaN where all that count did."""
    scores_FN = torch.stack(list(scores.values()))
    weights_F = torch.tensor([weights[name] for name in scores])
    total_N = (scores_FN * weights_F[:, None]).nansum(0)
    counts_F = weights_F != 0  # a function that only reports does not unmask a row
    if not counts_F.any():
        counts_F = ~counts_F
    return total_N.masked_fill(scores_FN[counts_F].isnan().all(0), math.nan)


def unique_names(specs: Sequence[RewardSpec]) -> list[RewardSpec]:
    """Number the names that occur twice, as those of two closures of one factory: f, f_2."""
    unique: dict[str, RewardSpec] = {}
    for spec in specs:
        name, count = spec.name, 1
        while name in unique:
            count += 1
            name = f"{spec.name}_{count}"
        unique[name] = replace(spec, name=name)
    return list(unique.values())


@dataclass
class Logged:
    """What reward functions log on the side, by TRL's log_extra and log_metric."""

    num_rows: int
    extra: dict[str, list[Any]] = field(default_factory=dict)
    metrics: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def log_extra(self, column: str, values: Sequence[Any]) -> None:
        """Add a column, one value per completion, to the completions table."""
        if len(values) != self.num_rows:
            raise ValueError(
                f"log_extra: values must be one per completion, {self.num_rows}; "
                f"got {len(values)} for {column!r}"
            )
        self.extra[column] = list(values)

    def log_metric(self, name: str, value: float) -> None:
        """Add a scalar to the step's metrics; several values of one name are averaged."""
        self.metrics[name].append(float(value))

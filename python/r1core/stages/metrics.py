"""Metrics of one reinforcement-learning step, under TRL's names.

Shapes: N rows, T completion positions, R rows of a micro-batch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from r1core.grpo_loss import LossMetrics
from r1core.types import RewardTable, Rollouts


class Clock:
    """Wall-clock seconds of a step, split by phase."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._phases: dict[str, float] = defaultdict(float)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's seconds to phase `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._phases[name] += time.perf_counter() - start

    def metrics(self, rollouts: Rollouts | None = None) -> dict[str, float]:
        """Return `step_time`, `time/<phase>` in seconds and, of drawn rollouts, the tokens/s."""
        step_time = time.perf_counter() - self._start
        metrics = {"step_time": step_time}
        if rollouts is not None:
            metrics["tokens_per_second"] = int(rollouts.lengths_N.sum()) / step_time
        return metrics | {f"time/{name}": seconds for name, seconds in self._phases.items()}


def rollout_metrics(rollouts: Rollouts, table: RewardTable) -> dict[str, float]:
    """Return lengths, rewards and entropy of a batch of rollouts."""
    return length_metrics(rollouts) | reward_metrics(table) | {"entropy": mean_entropy(rollouts)}


def length_metrics(rollouts: Rollouts) -> dict[str, float]:
    """Return `completions/*` (in tokens) and `num_tokens` (prompts counted once per completion)."""
    lengths = rollouts.lengths_N.double()
    stopped = torch.tensor([reason == "stop" for reason in rollouts.finish_reasons])
    prompt_tokens = sum(len(tokens) for tokens in rollouts.prompt_tokens) * rollouts.group_size
    metrics = {
        "num_tokens": float(lengths.sum()) + prompt_tokens,
        "completions/clipped_ratio": float((~stopped).double().mean()),
    }
    for infix, chosen in (("", lengths), ("_terminated", lengths[stopped])):
        if len(chosen):
            metrics[f"completions/mean{infix}_length"] = float(chosen.mean())
            metrics[f"completions/min{infix}_length"] = float(chosen.min())
            metrics[f"completions/max{infix}_length"] = float(chosen.max())
    return metrics


def reward_metrics(table: RewardTable) -> dict[str, float]:
    """Return `reward*`, `rewards/<fn>/{mean,std}` and `frac_reward_zero_std`.

    Of isolated functions also `rewards/<fn>/{timeouts,crashes}`, counts of calls. Rows on which
    every function abstained leave every denominator.
    """
    metrics = dict(table.metrics)
    metrics |= {f"rewards/{name}/timeouts": float(n) for name, n in table.timeouts.items()}
    metrics |= {f"rewards/{name}/crashes": float(n) for name, n in table.crashes.items()}
    for name, scores_N in table.scores.items():
        finite = scores_N[scores_N.isfinite()].double()
        if len(finite):
            metrics[f"rewards/{name}/mean"] = float(finite.mean())
            metrics[f"rewards/{name}/std"] = float(finite.std()) if len(finite) > 1 else 0.0
    groups = [group[group.isfinite()].double() for group in table.total_PG]
    groups = [group for group in groups if len(group) > 1]
    if groups:
        stds = torch.stack([group.std() for group in groups])
        agree = torch.tensor([bool((group == group[0]).all()) for group in groups])
        metrics["reward"] = float(torch.cat(groups).mean())
        metrics["reward_std"] = float(stds.mean())
        metrics["frac_reward_zero_std"] = float(agree.double().mean())
    return metrics


def mean_entropy(rollouts: Rollouts) -> float:
    """Return the sampler's mean entropy in nats per token, before any filter."""
    tokens = rollouts.mask_NT.sum().clamp(min=1)
    return float((rollouts.entropies_NT * rollouts.mask_NT).double().sum() / tokens)


class LossTally:
    """Joins the loss metrics of a step's micro-batches, each weighted by its tokens."""

    def __init__(self) -> None:
        self._parts: list[tuple[dict[str, float], int]] = []
        self._differences: list[Tensor] = []
        self._ratios: list[Tensor] = []

    def add(
        self,
        metrics: LossMetrics,
        trainer_RT: Tensor,
        rows: Rollouts,
        ratios: Tensor | None = None,
    ) -> None:
        """Record one micro-batch.

        Args:
            metrics: of its loss.
            trainer_RT: [R, T] the trainer's log-probabilities of its tokens.
            rows: its rollouts, with the sampler's.
            ratios: [any] importance weights, where the loss had them.
        """
        mask_RT = rows.mask_NT
        self._parts.append((metrics.as_dict(), int(mask_RT.sum())))
        difference_RT = (trainer_RT.detach().cpu() - rows.logprobs_NT).abs()
        self._differences.append(difference_RT[mask_RT])
        if ratios is not None:
            self._ratios.append(ratios)

    def metrics(self) -> dict[str, float]:
        """Return TRL's names; empty where the step had no gradient to compute."""
        if not self._parts:
            return {}
        difference = torch.cat(self._differences).double()
        joined = {name: join(name, self._parts) for name in self._parts[0][0]}
        if len(difference):
            joined["sampling/sampling_logp_difference/mean"] = float(difference.mean())
            joined["sampling/sampling_logp_difference/max"] = float(difference.max())
        if self._ratios and len(ratios := torch.cat(self._ratios).double()):
            joined["sampling/importance_sampling_ratio/min"] = float(ratios.min())
            joined["sampling/importance_sampling_ratio/mean"] = float(ratios.mean())
            joined["sampling/importance_sampling_ratio/max"] = float(ratios.max())
        return joined


def join(name: str, parts: Sequence[tuple[dict[str, float], int]]) -> float:
    """Join one metric over micro-batches: the loss is a sum, minima and maxima stay so."""
    values = [metrics[name] for metrics, _ in parts]
    if name == "policy_loss":
        return sum(values)
    if name.endswith("_min"):
        return min(values)
    if name.endswith("_max"):
        return max(values)
    tokens = sum(count for _, count in parts) or 1
    return sum(value * count for value, (_, count) in zip(values, parts, strict=True)) / tokens

"""Rejection sampling: a data set of what a policy does best (DeepSeek-R1, 2.3.3, B.3.3)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

from r1core.policy import Policy
from r1core.rewards import RewardSpec
from r1core.stages.dataset import DatasetStats, Row, SamplingStageConfig, sample_rows
from r1core.stages.questions import Batch


def rejection_sampling(
    policy: Policy,
    batches: Iterable[Batch],
    rewards: Sequence[RewardSpec],
    config: SamplingStageConfig,
) -> Iterator[DatasetStats]:
    """Sample several completions per prompt and keep the best; see `sample_rows`."""
    return sample_rows(policy, batches, rewards, config)


def mixed(
    parts: Mapping[str, Sequence[Row]], weights: Mapping[str, float | None], seed: int
) -> list[Row]:
    """Join the rows of several domains in a proportion, in a random order.

    Args:
        parts: domain -> rows; of those that are too many, the first are kept.
        weights: domain -> its part in the proportion (paper: 600k reasoning to 200k general is 3
            to 1); None keeps all of its rows, whatever the others have.
        seed: of the order.
    """
    fixed = [(len(parts[name]), weight) for name, weight in weights.items() if weight]
    scale = min((count / weight for count, weight in fixed), default=0.0)
    chosen = []
    for name, rows in parts.items():
        weight = weights[name]
        count = len(rows) if weight is None else round(scale * weight)
        chosen += [row | {"source": name} for row in rows[:count]]
    # Of all that `random` offers, only random() is promised to stay the same between versions.
    generator = random.Random(f"mixed/{seed}")
    return sorted(chosen, key=lambda _: generator.random())

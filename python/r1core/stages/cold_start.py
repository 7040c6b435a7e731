"""Cold start: readable long reasoning to imitate, made of Zero's own (DeepSeek-R1, 2.3.1, B.3.2).

Zero's traces are right but hard to read: they mix languages and speak to nobody. The paper samples
them at temperature 1, keeps correct and readable ones, has them rewritten in the first person and
in the question's language, and has a summary written behind the thinking, which replaces the
<answer> tags from here on. It rewrote some by hand and the rest with DeepSeek-V3; here a rewriter
is a rule (the embedded world's), a model behind an endpoint, or a local checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from r1core.policy import Policy
from r1core.rewards import RewardSpec
from r1core.stages.dataset import DatasetStats, Rewrite, SamplingStageConfig, sample_rows
from r1core.stages.questions import Batch


def cold_start(
    policy: Policy,
    batches: Iterable[Batch],
    rewards: Sequence[RewardSpec],
    config: SamplingStageConfig,
    rewrite: Rewrite,
) -> Iterator[DatasetStats]:
    """Sample, keep correct and readable completions, rewrite them; see `sample_rows`."""
    return sample_rows(policy, batches, rewards, config, rewrite)

"""Rollouts for one or several updates: drawn and graded.

With dynamic sampling (DAPO, section 3.2) a group whose completions all score alike, which has no
gradient, is replaced: more questions are drawn until there are enough groups that teach, and these
are accepted in the order of their prompts, never in the order in which they finish.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from r1core.policy import Policy
from r1core.rewards import RewardSpec, TrainerState, score_rollouts
from r1core.rewards.length import soft_overlong_punishment_reward
from r1core.sampling import sample_groups
from r1core.stages.graded import Graded, join_graded
from r1core.stages.metrics import Clock, rollout_metrics
from r1core.stages.questions import QuestionQueue
from r1core.stages.rl_config import RLConfig
from r1core.types import RewardTable, SamplingParams


def draw_rollouts(
    policy: Policy,
    questions: QuestionQueue,
    rewards: Sequence[RewardSpec],
    config: RLConfig,
    sampling: SamplingParams,
    step: int,
    clock: Clock,
) -> tuple[Graded, dict[str, float]] | None:
    """Draw and grade the rollouts of one batch; None where the questions have ended.

    Returns:
        The groups to train on, `questions_per_step * minibatches` of them unless the questions or
        the rounds of dynamic sampling ended first; and the metrics of all that were drawn.
    """
    wanted = config.questions_per_step * config.minibatches
    specs = [spec for spec in rewards if spec.from_step <= step]
    specs += overlong_rewards(config, sampling)
    state = TrainerState(step - 1, config.steps)  # TRL's counts the updates that are done
    parts: list[Graded] = []
    drawn = accepted = 0
    while accepted < wanted and len(parts) < (max(1, config.dynamic_sampling_rounds)):
        batch = questions.take(round_size(wanted, drawn, accepted))
        if batch is None:
            break
        with clock.phase("sampling"):
            rollouts = sample_groups(
                policy,
                batch.prompts,
                sampling,
                prompt_uids=batch.uids,
                keep_trace=not parts,  # of one draw, which bounds its memory
            )
        with clock.phase("rewards"):
            table = score_rollouts(rollouts, specs, batch.columns, trainer_state=state)
        parts.append(Graded(rollouts, table, batch.columns))
        drawn += len(batch.uids)
        accepted += len(informative_groups(table))
    if not parts:
        return None
    graded = join_graded(parts)
    metrics = rollout_metrics(graded.rollouts, graded.table)
    if config.dynamic_sampling_rounds:
        used = informative_groups(graded.table)[:wanted]
        if used:  # groups that all agree teach nothing, but a step without any has no shape
            graded = graded.groups(used)
        metrics |= {"sampling/groups_drawn": float(drawn), "sampling/groups_used": float(len(used))}
    return graded, metrics


def round_size(wanted: int, drawn: int, accepted: int) -> int:
    """Return how many questions to draw: what is missing at the rate accepted so far.

    One more group than drawn and accepted keeps the rate above 0.
    """
    if drawn == 0:
        return wanted
    missing = wanted - accepted
    return min(2 * wanted, math.ceil(missing * (drawn + 1) / (accepted + 1)))


def informative_groups(table: RewardTable) -> list[int]:
    """Return the groups whose completions do not all have the same reward."""
    chosen = []
    for p, group in enumerate(table.total_PG):
        finite = group[group.isfinite()]
        if len(finite) > 1 and not bool((finite == finite[0]).all()):
            chosen.append(p)
    return chosen


def overlong_rewards(config: RLConfig, sampling: SamplingParams) -> list[RewardSpec]:
    """Return DAPO's length penalty for the limit in force, where the recipe wants it."""
    if not config.overlong_cache:
        return []
    function = partial(
        soft_overlong_punishment_reward,
        max_length=sampling.max_new_tokens,
        cache=config.overlong_cache,
    )
    return [RewardSpec(function, "soft_overlong_punishment")]

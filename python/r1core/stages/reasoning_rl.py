"""Reinforcement learning with GRPO and rule rewards (DeepSeek-R1 sections 2.2, 2.3.2; eq. 1-3).

    draw and grade -> advantages -> old log-probabilities -> minibatch by minibatch: loss, update

What the paper leaves open, and what is done here:
- The ratio is per token (DeepSeekMath's form); R1 writes it per sequence.
- The standard deviation in equation 3 is the sample one (ddof 1), as in TRL.
- The entropy reported is the sampler's: the same distribution, at no cost.
- Rows whose loss has no gradient (a group that agrees, without KL) are not run again.

Shapes: P prompts, G rollouts per prompt, N = P * G, T positions, R rows of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from r1core.advantage import group_advantage
from r1core.forward import rollout_logprobs
from r1core.kl import token_kl
from r1core.lora import AdapterReference
from r1core.policy import Policy
from r1core.rewards import RewardSpec
from r1core.stages.draw import draw_rollouts
from r1core.stages.graded import Graded
from r1core.stages.metrics import Clock, LossTally
from r1core.stages.minibatches import (
    RolloutBatch,
    micro_batches,
    minibatch,
    needs_old_logprobs,
    old_logprobs,
    split_by_tokens,
)
from r1core.stages.policy_loss import policy_loss
from r1core.stages.questions import Batch, QuestionQueue
from r1core.stages.rl_config import ReasoningRLConfig, RLConfig
from r1core.stages.rl_state import RLState
from r1core.types import Rollouts, StepStats

__all__ = ["Batch", "ReasoningRLConfig", "reasoning_rl"]

C = TypeVar("C", bound=RLConfig)
S = TypeVar("S", bound=RLState)


def reasoning_rl(
    policy: Policy,
    batches: Iterable[Batch],
    rewards: Sequence[RewardSpec],
    config: ReasoningRLConfig,
    state: RLState | None = None,
) -> Iterator[StepStats]:
    """Improve `policy` in place, update by update.

    Yields each update's statistics: logging, evaluation and checkpoints belong to the caller. The
    first update of a rollout batch has the rollouts and what was measured on them.

    Args:
        policy: the policy to train; also the sampler.
        batches: the questions, of any sizes; the stage ends with them. To save the state between
            two updates, yield them one by one: what was taken and not used is in no state.
        rewards: reward functions and weights; TRL's functions work unchanged.
        config: the settings.
        state: where to go on from, None to begin; holds the last update that was finished.

    Raises:
        ValueError: a reward broke its contract, or a prompt leaves no room for a completion.
        FloatingPointError: the gradient is not finite; the policy is as before the step.
    """
    state = state or RLState(policy, config)
    yield from rl_updates(policy, batches, rewards, config, state, prepare=compare, update=update)


def rl_updates(
    policy: Policy,
    batches: Iterable[Batch],
    rewards: Sequence[RewardSpec],
    config: C,
    state: S,
    *,
    prepare: Callable[[Policy, Graded, C, S, Clock, StepStats], RolloutBatch],
    update: Callable[[Policy, RolloutBatch, C, S, Clock], dict[str, float]],
) -> Iterator[StepStats]:
    """Draw, prepare and update until the steps are done: the loop of `reasoning_rl` and `ppo`.

    Args:
        policy: as there.
        batches: as there.
        rewards: as there.
        config: as there.
        state: as there.
        prepare: makes advantages of graded rollouts.
        update: takes one optimizer step on the next minibatch.
    """
    questions = QuestionQueue(batches)
    while state.step < config.steps:
        clock, stats = Clock(), StepStats(state.step + 1, {})
        batch, drawn_tokens = state.batch, 0.0
        if batch is None:
            sampling = config.sampling_at(stats.step)
            drawn = draw_rollouts(policy, questions, rewards, config, sampling, stats.step, clock)
            if drawn is None:
                return
            graded, stats.metrics = drawn
            drawn_tokens = stats.metrics["num_tokens"]
            batch = prepare(policy, graded, config, state, clock, stats)
            note_batch(policy, batch, graded, config, clock, stats)
        stats.metrics |= update(policy, batch, config, state, clock)
        batch.rollouts.trace = None  # of weights that are gone
        used_up = batch.updates == config.minibatches * config.num_iterations
        state.batch = None if used_up else batch
        state.num_tokens += drawn_tokens
        stats.metrics |= {"num_tokens": state.num_tokens}  # since the stage began, as TRL counts
        stats.metrics |= clock.metrics(stats.rollouts)
        yield stats


def note_batch(
    policy: Policy,
    batch: RolloutBatch,
    graded: Graded,
    config: RLConfig,
    clock: Clock,
    stats: StepStats,
) -> None:
    """Note what the updates will need of the sampler, and what the caller logs of the rollouts."""
    if needs_old_logprobs(config):
        with clock.phase("old_logprobs"):
            batch.old_logprobs_NT = old_logprobs(policy, batch, config)
    stats.rollouts, stats.rewards, stats.columns = batch.rollouts, graded.table, graded.columns
    stats.advantages_N = batch.completion_advantages()


def compare(
    policy: Policy,
    graded: Graded,
    config: ReasoningRLConfig,
    state: RLState,
    clock: Clock,
    stats: StepStats,
) -> RolloutBatch:
    """Compare each completion with its group (equation 3)."""
    total_PG = graded.table.total_PG
    if state.reference is not None and config.kl_in_reward:
        kl_NT = reference_kl(policy, state.reference, graded.rollouts, config, clock, stats)
        total_PG = total_PG - config.loss.beta * kl_NT.sum(-1).view_as(total_PG)
    advantages_N = group_advantage(total_PG, scale=config.scale_rewards).flatten()
    return RolloutBatch(graded.rollouts, advantages_N, trained_rows(graded, config))


def trained_rows(graded: Graded, config: RLConfig) -> Tensor:
    """Return which completions count in the loss, bool [N]."""
    trained_N = graded.table.total_N.isfinite()
    if config.loss.mask_truncated_completions:
        reasons = graded.rollouts.finish_reasons
        trained_N &= torch.tensor([reason == "stop" for reason in reasons])
    return trained_N


def update(
    policy: Policy, batch: RolloutBatch, config: RLConfig, state: RLState, clock: Clock
) -> dict[str, float]:
    """Take one optimizer step on the next minibatch; return what the loss and the step measured.

    Whatever fails before the optimizer's own step leaves the policy and the state as they were.
    """
    losses, loss_config = LossTally(), config.loss_at(state.step + 1)
    forward = policy.training_forward()
    with forward.on_one_torch_thread():
        for rows, normalizer in micro_batches(
            minibatch(batch, config),
            loss_config,
            config.tokens_per_micro_batch,
            layout=forward.layout,
        ):
            reference_RT = None
            if state.reference is not None and loss_config.beta > 0:
                with clock.phase("reference"), torch.no_grad():
                    reference_RT, _ = state.reference.logprobs(rows.rollouts)  # pi_ref
            with clock.phase("forward_backward"):
                found = policy_loss(  # pi_theta; equations 1, 2
                    forward,
                    rows,
                    config,
                    loss=loss_config,
                    normalizer=normalizer,
                    reference_logprobs=reference_RT,
                )
                found.loss.backward()  # type: ignore[no-untyped-call]
            trainer_RT = rows.sampler_policy(found.logprobs_RT)
            losses.add(found.metrics, trainer_RT, rows.rollouts, found.ratios)
    with clock.phase("optimizer"):
        taken = state.update(state.stage)
    batch.updates += 1
    every = config.reference_every
    if state.reference is not None and every and state.step % every == 0:
        state.reference.load_from(policy)
    return losses.metrics() | taken


def reference_kl(
    policy: Policy,
    reference: Policy | AdapterReference,
    rollouts: Rollouts,
    config: RLConfig,
    clock: Clock,
    stats: StepStats,
) -> Tensor:
    """Return each token's KL to the reference, [N, T] nats, both sides scored alike; log its mean.

    0 outside the mask.
    """
    kl_NT = torch.zeros_like(rollouts.logprobs_NT)
    scored_N = rollouts.lengths_N > 0
    forward, budget = policy.training_forward(), config.tokens_per_micro_batch
    for index_R in split_by_tokens(rollouts, scored_N, budget, layout=forward.layout):
        rows = rollouts.rows(index_R)
        with clock.phase("reference"), torch.no_grad():
            logprobs_RT, _ = rollout_logprobs(forward, rows)
            reference_RT, _ = reference.logprobs(rows)
        kl_NT[index_R, : logprobs_RT.shape[1]] = token_kl(
            logprobs_RT.cpu(),
            reference_RT.cpu(),
            rows.mask_NT,
            estimator=config.loss.kl_estimator,
        )
    stats.metrics["kl"] = float(kl_NT.double().sum() / rollouts.mask_NT.sum().clamp(min=1))
    return kl_NT

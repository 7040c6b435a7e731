"""PPO with a critic, which GRPO does without (DeepSeek-R1, appendix A.3; Schulman et al. 2017).

    draw and grade -> values, KL -> GAE, whitened -> minibatch by minibatch: critic and policy step

The rest is `reasoning_rl`'s, so that the two differ in the advantage alone:
- The rule reward falls on the last token; beta times a token's KL is taken from that token.
- A completion that the length limit cut off has ended: no value is taken after it.
- Advantages are whitened over the tokens of the batch, as in TRL and verl.
- The critic averages over tokens, has an optimizer of its own, and shares no weight.

Shapes: N rollouts, T positions, R rows of a micro-batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from r1core.critic import Critic
from r1core.forward import rollout_values
from r1core.gae import gae, whiten
from r1core.policy import Policy
from r1core.rewards import RewardSpec
from r1core.stages.graded import Graded
from r1core.stages.metrics import Clock
from r1core.stages.minibatches import RolloutBatch, minibatch_index, split_by_tokens
from r1core.stages.optimizer import finite_gradient_norm
from r1core.stages.ppo_config import PPOConfig
from r1core.stages.ppo_state import PPOState
from r1core.stages.questions import Batch
from r1core.stages.reasoning_rl import reference_kl, rl_updates, trained_rows
from r1core.stages.reasoning_rl import update as update_policy
from r1core.types import Rollouts, StepStats
from r1core.value_loss import explained_variance, value_loss


def ppo(
    policy: Policy,
    batches: Iterable[Batch],
    rewards: Sequence[RewardSpec],
    config: PPOConfig,
    state: PPOState | None = None,
) -> Iterator[StepStats]:
    """Improve `policy` in place, update by update, by what a critic expected.

    Yields each update's statistics: those of `reasoning_rl`, and TRL's `loss/value_avg` and
    `val/clipfrac_avg`, verl's `critic/vf_explained_var` (of the values before the update),
    `critic/{values,returns}/mean`, `critic/grad_norm` and `critic/lr`.

    Args:
        policy: the policy to train; also the sampler.
        batches: the questions, as in `reasoning_rl`.
        rewards: reward functions and weights.
        config: the settings.
        state: where to go on from, None to begin; holds the last update that was finished.

    Raises:
        ValueError: a reward broke its contract, or a prompt leaves no room for a completion.
        FloatingPointError: a gradient is not finite; policy and critic are as before the step.
    """
    state = state or PPOState(policy, config)
    yield from rl_updates(policy, batches, rewards, config, state, prepare=appraise, update=update)


def appraise(
    policy: Policy,
    graded: Graded,
    config: PPOConfig,
    state: PPOState,
    clock: Clock,
    stats: StepStats,
) -> RolloutBatch:
    """Compare what each token led to with what the critic expected before it."""
    rollouts, settings = graded.rollouts, config.critic
    rewards_NT = final_rewards(graded.table.total_N, rollouts.mask_NT)
    if state.reference is not None:
        kl_NT = reference_kl(policy, state.reference, rollouts, config, clock, stats)
        rewards_NT = rewards_NT - config.loss.beta * kl_NT
    with clock.phase("critic"):
        values_NT = values_of(state.critic, rollouts, config)
    advantages_NT, returns_NT = gae(
        rewards_NT,
        values_NT,
        rollouts.mask_NT,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
    )
    trained_N = trained_rows(graded, config)
    mask_NT = rollouts.mask_NT & trained_N[:, None]
    stats.metrics |= critic_metrics(values_NT, returns_NT, mask_NT)
    return RolloutBatch(
        rollouts,
        whiten(advantages_NT, mask_NT),
        trained_N,
        values_NT=values_NT,
        returns_NT=returns_NT,
    )


def final_rewards(total_N: Tensor, mask_NT: Tensor) -> Tensor:
    """Return the rewards per token, [N, T] float32: all of it on a row's last masked token.

    Rows without a reward (NaN) or without a token get none.
    """
    last_N1 = mask_NT.cumsum(-1).argmax(-1, keepdim=True)  # the first position of the full count
    earned_N1 = total_N.nan_to_num(nan=0.0)[:, None] * mask_NT.any(-1, keepdim=True)
    return torch.zeros(mask_NT.shape).scatter(-1, last_N1, earned_N1)


def values_of(critic: Critic, rollouts: Rollouts, config: PPOConfig) -> Tensor:
    """Return the critic's values of every token as they are now, [N, T]."""
    values_NT = torch.zeros_like(rollouts.logprobs_NT)
    scored_N = rollouts.lengths_N > 0
    forward, budget = critic.training_forward(), config.tokens_per_micro_batch
    for index_R in split_by_tokens(rollouts, scored_N, budget, layout=forward.layout):
        with torch.no_grad():
            values_RT = rollout_values(forward, rollouts.rows(index_R))
        values_NT[index_R, : values_RT.shape[1]] = values_RT.cpu()
    return values_NT


def critic_metrics(values_NT: Tensor, returns_NT: Tensor, mask_NT: Tensor) -> dict[str, float]:
    """Return what the critic expected of the rollouts, and how much it explains."""
    tokens = mask_NT.sum().clamp(min=1)
    return {
        "critic/vf_explained_var": explained_variance(values_NT, returns_NT, mask_NT),
        "critic/values/mean": float((values_NT * mask_NT).double().sum() / tokens),
        "critic/returns/mean": float((returns_NT * mask_NT).double().sum() / tokens),
    }


def update(
    policy: Policy, batch: RolloutBatch, config: PPOConfig, state: PPOState, clock: Clock
) -> dict[str, float]:
    """Take one step of the critic and, after its warm-up, of the policy on the next minibatch.

    Whatever fails before the optimizers' own steps leaves policy, critic and state as they were.
    """
    with clock.phase("critic"):
        metrics = accumulate(state, batch, config)
        finite_gradient_norm(
            state.critic_state.optimizer, f"{state.stage}'s critic, step {state.step + 1}"
        )
    if state.step >= config.critic.warmup_steps:
        return metrics | update_policy(policy, batch, config, state, clock)
    batch.updates += 1
    return metrics | state.warm_up()


def accumulate(state: PPOState, batch: RolloutBatch, config: PPOConfig) -> dict[str, float]:
    """Put the gradient of the minibatch's value loss into the critic; return what was measured."""
    assert batch.returns_NT is not None and batch.values_NT is not None
    rollouts, forward = batch.rollouts, state.critic.training_forward()
    chosen_N = torch.zeros_like(batch.trained_N)
    index_R = minibatch_index(batch, config)
    chosen_N[index_R] = batch.trained_N[index_R]
    mask_NT = rollouts.mask_NT & chosen_N[:, None]
    totals: dict[str, float] = defaultdict(float)
    state.critic_state.optimizer.zero_grad()  # of an update that failed
    budget = config.tokens_per_micro_batch
    for index_R in split_by_tokens(rollouts, chosen_N, budget, layout=forward.layout):
        values_RT = rollout_values(forward, rollouts.rows(index_R))
        T, device = values_RT.shape[1], values_RT.device
        loss, clipped = value_loss(
            values_RT,
            batch.returns_NT[index_R, :T].to(device),
            mask_NT[index_R, :T].to(device),
            old_values_NT=batch.values_NT[index_R, :T].to(device),
            clip=config.critic.value_clip,
            tokens=int(mask_NT.sum()),
        )
        loss.backward()  # type: ignore[no-untyped-call]
        totals["loss/value_avg"] += float(loss.detach())
        totals["val/clipfrac_avg"] += float(clipped)
    return dict(totals)

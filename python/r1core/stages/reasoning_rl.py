"""Reinforcement learning with GRPO and rule rewards (DeepSeek-R1 sections 2.2, 2.3.2; eq. 1-3).

What the paper leaves open, and what is done here:
- One policy update per batch of rollouts, so the sampler is the policy and the ratio is exactly 1.
- The ratio is per token (DeepSeekMath's form); R1 writes it per sequence.
- The standard deviation in equation 3 is the sample one (ddof 1), as in TRL.
- The entropy reported is the sampler's: the same distribution, at no cost.
- Rows whose loss has no gradient (a group that agrees, without KL) are not run again.

Shapes: P prompts, G rollouts per prompt, N = P * G, T positions, R rows of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor

from r1core.advantage import group_advantage
from r1core.grpo_loss import LossConfig, LossNormalizer, grpo_loss, loss_normalizer
from r1core.importance import Mode, distinct_ratios, importance_weights
from r1core.kl import kl_penalty
from r1core.policy import Policy
from r1core.rewards import RewardSpec, score_rollouts
from r1core.sampling import sample_groups
from r1core.stages.metrics import Clock, LossTally, rollout_metrics
from r1core.stages.optimizer import OptimizerConfig, build_optimizer, optimizer_step
from r1core.types import RewardTable, Rollouts, SamplingParams, StepStats


class ReasoningRLConfig(BaseModel):
    """Settings of the stage; the paper's values where it gives them.

    Attributes:
        steps: optimizer steps; >= 1.
        questions_per_step: P, distinct prompts per step (paper: 32).
        sampling: how rollouts are drawn; n is G (paper: 16 at temperature 1).
        loss: equations 1 and 2.
        kl_in_reward: loss.beta times a completion's KL is taken from its reward, before equation 3,
            and leaves the loss (DeepSeekMath, equation 2, which has loss.kl_estimator "k1").
        importance_sampling_mode: how tokens are weighed by pi_theta / sampler where both compute
            other log-probabilities for the same weights: TRL's vllm_importance_sampling_mode. None
            leaves them as they are: the engine's agree with the trainer's.
        importance_sampling_clip_max: largest such ratio; > 0.
        scale_rewards: what equation 3 divides by: the group's std, the batch's, or nothing.
        optimizer: AdamW and its schedule.
        reference_every: steps after which pi_ref becomes the current policy (paper: 400); 0 keeps
            the starting policy. Matters only where loss.beta > 0.
        tokens_per_micro_batch: padded tokens, prompt included, in one forward and backward pass.
    """

    model_config = ConfigDict(extra="forbid")

    steps: int = Field(ge=1)
    questions_per_step: int = Field(32, ge=1)
    sampling: SamplingParams = SamplingParams()
    loss: LossConfig = LossConfig.r1()
    kl_in_reward: bool = False
    importance_sampling_mode: Mode | None = None
    importance_sampling_clip_max: float = Field(3.0, gt=0)
    scale_rewards: Literal["group", "batch", "none"] = "group"
    optimizer: OptimizerConfig = OptimizerConfig()
    reference_every: int = Field(400, ge=0)
    tokens_per_micro_batch: int = Field(16_384, ge=1)

    @field_validator("loss", mode="before")
    @classmethod
    def _apply_preset(cls, value: Any) -> Any:
        """Read a table as a preset, "r1" (the default) or "trl", with the other keys on top."""
        if not isinstance(value, dict):
            return value
        preset = value.get("preset", "r1")
        overrides = {key: item for key, item in value.items() if key != "preset"}
        if preset == "trl":
            return overrides
        if preset != "r1":
            raise ValueError(f'preset must be "r1" or "trl"; got {preset!r}')
        return {**asdict(LossConfig.r1()), **overrides}

    @model_validator(mode="after")
    def _needs_a_group(self) -> ReasoningRLConfig:
        if self.sampling.n < 2:
            raise ValueError(
                "sampling.n must be >= 2: an advantage compares the answers of one group, and a "
                f"group of one always gets 0; got {self.sampling.n}"
            )
        return self


class Batch(BaseModel):
    """P questions of one step.

    Attributes:
        prompts: P prompts, templated as the policy shall see them.
        columns: dataset columns for the rewards, each with P values.
        uids: P counters of the random generator, unique within the run.
    """

    prompts: list[Any]
    columns: dict[str, list[Any]]
    uids: list[int]


def reasoning_rl(
    policy: Policy,
    batches: Iterable[Batch],
    rewards: Sequence[RewardSpec],
    config: ReasoningRLConfig,
) -> Iterator[StepStats]:
    """Improve `policy` in place, one optimizer step per batch of P prompts.

    Yields each step's statistics: logging, evaluation and checkpoints belong to the caller.

    Args:
        policy: the policy to train; also the sampler.
        batches: the questions, at least `config.steps` batches.
        rewards: reward functions and weights; TRL's functions work unchanged.
        config: the settings.

    Raises:
        ValueError: a reward broke its contract, or a prompt leaves no room for a completion.
        FloatingPointError: the gradient is not finite; the policy is as before the step.
    """
    config = with_constant_length(config)
    num_tokens = 0.0
    optimizer, scheduler = build_optimizer(policy.parameters(), config.optimizer, config.steps)
    reference = policy.frozen_copy() if config.loss.beta > 0 else None
    reward_beta = 0.0
    if config.kl_in_reward:
        reward_beta, config = config.loss.beta, with_loss(config, beta=0.0)
    for step, batch in zip(range(1, config.steps + 1), batches, strict=False):
        clock, losses = Clock(), LossTally()
        with clock.phase("sampling"):
            rollouts = sample_groups(
                policy, batch.prompts, config.sampling, prompt_uids=batch.uids
            )  # from pi_old, which is pi_theta
        with clock.phase("rewards"):
            table = score_rollouts(rollouts, rewards, batch.columns)
        total_PG, kl_metrics = table.total_PG, {}
        if reference is not None and reward_beta > 0:
            with clock.phase("reference"):
                kl_N = completion_kl(policy, reference, rollouts, config)
            total_PG = total_PG - reward_beta * kl_N.view_as(total_PG)
            kl_metrics = {"kl": float(kl_N.double().sum() / rollouts.mask_NT.sum().clamp(min=1))}
        advantages_PG = group_advantage(total_PG, scale=config.scale_rewards)  # equation 3
        advantages_N = advantages_PG.flatten()
        for rows, mask_RT, advantages_R, normalizer in micro_batches(
            rollouts, table, advantages_N, config
        ):
            reference_RT = None
            if reference is not None and config.loss.beta > 0:
                with clock.phase("reference"), torch.no_grad():
                    reference_RT, _ = reference.logprobs(rows)  # pi_ref
            with clock.phase("forward_backward"):
                logprobs_RT, entropies_RT = policy.logprobs(rows)  # pi_theta
                weights_RT, ratios = sampler_weights(logprobs_RT, rows, mask_RT, config)
                loss, loss_metrics = grpo_loss(  # equations 1, 2
                    logprobs_RT,
                    advantages_R,
                    mask=mask_RT,
                    reference_logprobs=reference_RT,
                    importance_weights=weights_RT,
                    entropies=entropies_RT,
                    normalizer=normalizer,
                    config=config.loss,
                )
                loss.backward()  # type: ignore[no-untyped-call]
            losses.add(loss_metrics, logprobs_RT, rows, ratios)
        with clock.phase("optimizer"):
            learning_rate = float(scheduler.get_last_lr()[0])
            where = f"reasoning_rl, step {step}"
            grad_norm = optimizer_step(optimizer, scheduler, config.optimizer.max_grad_norm, where)
        if reference is not None and config.reference_every and step % config.reference_every == 0:
            reference.load_from(policy)
        metrics = rollout_metrics(rollouts, table) | losses.metrics() | kl_metrics
        num_tokens += metrics["num_tokens"]
        metrics |= {"num_tokens": num_tokens}  # since the stage began, as TRL counts
        metrics |= {"grad_norm": grad_norm, "learning_rate": learning_rate}
        metrics |= clock.metrics(int(rollouts.lengths_N.sum()))
        yield StepStats(step, metrics, rollouts, table, advantages_N)


def with_constant_length(config: ReasoningRLConfig) -> ReasoningRLConfig:
    """Have "dr_grpo" divide by the length limit, not by the longest completion of a step."""
    if config.loss.max_completion_length is not None:
        return config
    return with_loss(config, max_completion_length=config.sampling.max_new_tokens)


def with_loss(config: ReasoningRLConfig, **changes: Any) -> ReasoningRLConfig:
    """Return the settings with another loss."""
    return config.model_copy(update={"loss": replace(config.loss, **changes)})


def completion_kl(
    policy: Policy, reference: Policy, rollouts: Rollouts, config: ReasoningRLConfig
) -> Tensor:
    """Return each completion's KL to the reference, [N] nats, both sides scored alike."""
    kl_N = torch.zeros(len(rollouts.lengths_N))
    scored_N = rollouts.lengths_N > 0
    for index_R in split_by_tokens(rollouts, scored_N, config.tokens_per_micro_batch):
        rows = rollouts.rows(index_R)
        with torch.no_grad():
            logprobs_RT, reference_RT = policy.logprobs(rows)[0], reference.logprobs(rows)[0]
        kl_N[index_R] = kl_penalty(
            logprobs_RT.cpu(),
            reference_RT.cpu(),
            rows.mask_NT,
            estimator=config.loss.kl_estimator,
        )
    return kl_N


def sampler_weights(
    logprobs_RT: Tensor, rows: Rollouts, mask_RT: Tensor, config: ReasoningRLConfig
) -> tuple[Tensor | None, Tensor | None]:
    """Return importance weights [R, T] against the sampler and their values for the log."""
    mode = config.importance_sampling_mode
    if mode is None:
        return None, None
    weights_RT = importance_weights(
        logprobs_RT.detach().cpu(),
        rows.logprobs_NT,
        mask_RT,
        mode=mode,
        clip_max=config.importance_sampling_clip_max,
    )
    return weights_RT, distinct_ratios(weights_RT, mask_RT, mode)


def micro_batches(
    rollouts: Rollouts, table: RewardTable, advantages_N: Tensor, config: ReasoningRLConfig
) -> Iterator[tuple[Rollouts, Tensor, Tensor, LossNormalizer]]:
    """Split the rows that have a gradient, sorted by length, under the token budget.

    Yields:
        rows: R rows as rollouts.
        mask_RT: bool [R, T], the tokens that count.
        advantages_R: float32 [R].
        normalizer: of the whole step, so that the split does not change the loss.
    """
    trained_N = table.total_N.isfinite()
    if config.loss.mask_truncated_completions:
        trained_N &= torch.tensor([reason == "stop" for reason in rollouts.finish_reasons])
    mask_NT = rollouts.mask_NT & trained_N[:, None]
    normalizer = loss_normalizer(mask_NT, config.loss)
    has_gradient_N = trained_N
    if config.loss.beta == 0 and config.loss.entropy_coef == 0:
        has_gradient_N = trained_N & (advantages_N != 0)
    for index_R in split_by_tokens(rollouts, has_gradient_N, config.tokens_per_micro_batch):
        rows = rollouts.rows(index_R)
        T = rows.tokens_NT.shape[1]
        yield rows, mask_NT[index_R, :T], advantages_N[index_R], normalizer


def split_by_tokens(rollouts: Rollouts, chosen_N: Tensor, budget: int) -> Iterator[Tensor]:
    """Yield row indices, longest first, so that rows times padded length stays within `budget`.

    A row longer than the budget is a micro-batch of its own.
    """
    prompt_lengths = torch.tensor([len(tokens) for tokens in rollouts.prompt_tokens])
    lengths_N = rollouts.lengths_N + prompt_lengths.repeat_interleave(rollouts.group_size)
    index = chosen_N.nonzero().flatten()
    index = index[lengths_N[index].argsort(descending=True, stable=True)]
    while len(index):
        rows = max(1, budget // int(lengths_N[index[0]]))
        yield index[:rows]
        index = index[rows:]

"""Settings of the stages that learn by reinforcement: `reasoning_rl`, and what `ppo` shares."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from r1core.importance import Mode
from r1core.loss_config import LossConfig
from r1core.stages.optimizer import OptimizerConfig
from r1core.types import SamplingParams


class LengthLimit(BaseModel):
    """A limit of the completion length, in tokens, in force from update `step` on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1)


class RLConfig(BaseModel):
    """Settings of every such stage; the paper's values where it gives them.

    Attributes:
        steps: policy updates; >= 1.
        questions_per_step: distinct prompts of an update (paper: 32).
        minibatches: updates that the rollouts of one batch are split into, at random (paper: 16).
            A batch has questions_per_step * minibatches prompts.
        num_iterations: times that each rollout is used; TRL's name (paper: 1).
        dynamic_sampling_rounds: dynamic sampling (DAPO, section 3.2): groups whose completions all
            score alike are replaced by further prompts, drawn in at most so many rounds a batch
            (verl: 10). 0 trains on the groups as they come.
        sampling: how rollouts are drawn; n is G (paper: 16 at temperature 1).
        length_schedule: later limits of the completion length, each in force from rollouts drawn
            for update `step` on (paper: 32,768 tokens, then 65,536 from step 8,200).
        overlong_cache: tokens before the length limit in which a completion loses up to one point
            of reward (DAPO, equation 13: 4,096 of 20,480); 0 leaves length alone.
        loss: equations 1 and 2.
        importance_sampling_mode: how tokens are weighed by pi_theta / sampler where both compute
            other log-probabilities for the same weights: TRL's vllm_importance_sampling_mode. None
            leaves them as they are: the engine's agree with the trainer's.
        importance_sampling_clip_max: largest such ratio; > 0.
        optimizer: AdamW and its schedule.
        reference_every: updates after which pi_ref becomes the current policy (paper: 400); 0 keeps
            the starting policy. Matters only where loss.beta > 0.
        tokens_per_micro_batch: tokens of one forward and backward pass, with prompts and padding.
    """

    model_config = ConfigDict(extra="forbid")

    steps: int = Field(ge=1)
    questions_per_step: int = Field(32, ge=1)
    minibatches: int = Field(1, ge=1)
    num_iterations: int = Field(1, ge=1)
    dynamic_sampling_rounds: int = Field(0, ge=0)
    sampling: SamplingParams = SamplingParams()
    length_schedule: list[LengthLimit] = []
    overlong_cache: int = Field(0, ge=0)
    loss: LossConfig = LossConfig.r1()
    importance_sampling_mode: Mode | None = None
    importance_sampling_clip_max: float = Field(3.0, gt=0)
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
    def _lengths_fit(self) -> RLConfig:
        steps = [limit.step for limit in self.length_schedule]
        if steps != sorted(set(steps)):
            raise ValueError(f"length_schedule: steps must ascend; got {steps}")
        shortest = min(self.length_limits())
        if self.overlong_cache > shortest:
            raise ValueError(
                f"overlong_cache must be <= the length limit, {shortest}; got {self.overlong_cache}"
            )
        return self

    def length_limits(self) -> list[int]:
        """Return every limit of the completion length that is in force at some time."""
        return [self.sampling.max_new_tokens, *(x.max_new_tokens for x in self.length_schedule)]

    def sampling_at(self, step: int) -> SamplingParams:
        """Return how rollouts are drawn for update `step`, counted from 1."""
        limit = self.sampling.max_new_tokens
        for later in self.length_schedule:
            if later.step <= step:
                limit = later.max_new_tokens
        return replace(self.sampling, max_new_tokens=limit)

    def loss_at(self, step: int) -> LossConfig:
        """Return the loss of update `step`; "dr_grpo" divides by the length limit in force."""
        length = self.loss.max_completion_length or self.sampling_at(step).max_new_tokens
        return replace(self.loss, max_completion_length=length)


class ReasoningRLConfig(RLConfig):
    """Settings of the stage `reasoning_rl`, and those of `RLConfig`.

    Attributes:
        kl_in_reward: loss.beta times a completion's KL is taken from its reward, before equation 3,
            and leaves the loss (DeepSeekMath, equation 2, which has loss.kl_estimator "k1").
        scale_rewards: what equation 3 divides by: the group's std, the batch's, or nothing.
    """

    kl_in_reward: bool = False
    scale_rewards: Literal["group", "batch", "none"] = "group"

    @model_validator(mode="after")
    def _needs_a_group(self) -> ReasoningRLConfig:
        if self.sampling.n < 2:
            raise ValueError(
                "sampling.n must be >= 2: an advantage compares the answers of one group, and a "
                f"group of one always gets 0; got {self.sampling.n}"
            )
        return self

    def loss_at(self, step: int) -> LossConfig:
        """Return the loss of update `step`, without KL where that is in the reward."""
        loss = super().loss_at(step)
        return replace(loss, beta=0.0) if self.kl_in_reward else loss

"""Settings of the stage `ppo`."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r1core.loss_config import LossConfig
from r1core.stages.optimizer import OptimizerConfig
from r1core.stages.rl_config import RLConfig


class CriticConfig(BaseModel):
    """Settings of the critic.

    Attributes:
        gae_lambda: in [0, 1]; 1 waits for the reward, less trusts the critic (paper, appendix A.3:
            0.95 is far behind GRPO, 1.0 close to it).
        gamma: discount, in (0, 1].
        lr: peak learning rate, > 0; about ten times the policy's (verl, TinyZero). The rest of its
            AdamW is as in the stage's `optimizer`.
        value_clip: how far a value may move from that of the rollouts before its loss is flat, > 0,
            in units of the reward (TRL: 0.2, verl: 0.5); None leaves it free.
        warmup_steps: first updates of the stage, in which the critic alone learns (verl's
            critic_warmup).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gae_lambda: float = Field(1.0, ge=0, le=1)
    gamma: float = Field(1.0, gt=0, le=1)
    lr: float = Field(1e-5, gt=0)
    value_clip: float | None = Field(None, gt=0)
    warmup_steps: int = Field(0, ge=0)


class PPOConfig(RLConfig):
    """Settings of the stage `ppo`: those of `RLConfig`, and a critic.

    loss.beta times a token's KL is taken from that token's reward, by loss.kl_estimator ("k1" in
    PPO), and is not in the loss.

    Attributes:
        critic: how it learns, and how advantages are made of its values.
    """

    critic: CriticConfig = CriticConfig()

    @model_validator(mode="after")
    def _policy_learns(self) -> PPOConfig:
        if self.critic.warmup_steps >= self.steps:
            raise ValueError(
                f"critic.warmup_steps must be < steps, {self.steps}: the policy learns after them; "
                f"got {self.critic.warmup_steps}"
            )
        return self

    def loss_at(self, step: int) -> LossConfig:
        """Return the policy's loss of update `step`."""
        return replace(super().loss_at(step), beta=0.0)

    def critic_optimizer(self) -> OptimizerConfig:
        """Return the critic's AdamW."""
        return self.optimizer.model_copy(update={"lr": self.critic.lr})

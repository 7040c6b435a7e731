"""Where a stage `ppo` stands: a policy's state, and its critic's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1core.critic import Critic
from r1core.policy import Policy
from r1core.stages.ppo_config import PPOConfig
from r1core.stages.rl_state import RLState
from r1core.stages.training_state import TrainingState


class PPOState(RLState):
    """The state of a `ppo` stage between two updates.

    Attributes:
        critic: starts on the backbone that the policy has here.
        critic_state: its optimizer, schedule and count of updates.
    """

    stage = "ppo"

    def __init__(self, policy: Policy, config: PPOConfig) -> None:
        """Begin a stage: `policy` is where it starts, the reference, and the critic's backbone."""
        super().__init__(policy, config)
        self.critic = Critic.from_policy(policy)
        self.critic_state = TrainingState(
            self.critic.model.named_parameters(), config.critic_optimizer(), config.steps
        )

    def update(self, stage: str) -> dict[str, float]:
        """Step policy and critic on the gradients that are there; return norms and rates.

        Raises:
            FloatingPointError: a gradient is not finite; if the policy's, nothing was changed.
        """
        return super().update(stage) | self._update_critic()

    def warm_up(self) -> dict[str, float]:
        """Step the critic alone; the policy's schedule waits."""
        taken = self._update_critic()
        self.step += 1
        return taken

    def _update_critic(self) -> dict[str, float]:
        taken = self.critic_state.update(f"{self.stage}'s critic")
        return {"critic/grad_norm": taken["grad_norm"], "critic/lr": taken["learning_rate"]}

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values that `torch.load(weights_only=True)` reads back."""
        return super().state_dict() | {
            "critic": self.critic.state_dict(),
            "critic_state": self.critic_state.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, with the same settings."""
        super().load_state_dict(state)
        self.critic.load_state_dict(state["critic"])
        self.critic_state.load_state_dict(state["critic_state"])

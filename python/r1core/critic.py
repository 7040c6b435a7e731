"""A critic: a policy's backbone with a scalar head on every position (appendix A.3).

Shapes: N rollouts, T completion positions, M completion tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor, nn
from transformers import PreTrainedModel

from r1core.forward import ForwardKind, TrainingForward, rollout_values, training_forward
from r1core.lora import has_lora, merge_lora
from r1core.policy import Policy
from r1core.types import Rollouts


class Critic:
    """Estimates at every token of a completion the reward that is still to come.

    A causal LM whose head has one row in place of a vocabulary, so its forward is the policy's:
    packed where attention allows, and on completion tokens alone.

    Attributes:
        model: the Hugging Face module.
        gradient_checkpointing: keep each layer's input alone and compute the rest again.

    Args:
        model: a causal LM whose output embedding is [1, H].
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        forward: ForwardKind = "auto",
        gradient_checkpointing: bool = False,
    ) -> None:
        self.model = model.eval()
        self.forward = forward
        self.gradient_checkpointing = gradient_checkpointing

    @classmethod
    def from_policy(cls, policy: Policy) -> Critic:
        """Return a critic on a copy of a policy's backbone; its head starts at zero.

        All of its weights train, also where the policy trains an adapter, which is merged here.
        """
        merged = merge_lora(policy) if has_lora(policy) else policy
        model = copy.deepcopy(merged.model).requires_grad_(True)
        old = model.get_output_embeddings().weight
        head = nn.Linear(old.shape[1], 1, bias=False, dtype=old.dtype, device=old.device)
        nn.init.zeros_(head.weight)
        model.set_output_embeddings(head)
        return cls(
            model,
            forward=policy.forward,
            gradient_checkpointing=policy.gradient_checkpointing,
        )

    def training_forward(self) -> TrainingForward:
        """Return the forward pass that trains the critic as it is now, until its weights change."""
        forward: TrainingForward = training_forward(
            self.model, self.forward, gradient_checkpointing=self.gradient_checkpointing
        )
        return forward

    def values(self, rollouts: Rollouts) -> Tensor:
        """Return the value of the state before each completion token; differentiable.

        Args:
            rollouts: N completions.

        Returns:
            values_NT: [N, T] float32, in units of the reward; 0 beyond each row's length.
        """
        return rollout_values(self.training_forward(), rollouts)

    def state_dict(self) -> dict[str, Tensor]:
        """Return every weight, by the module's names."""
        return self.model.state_dict()  # type: ignore[no-any-return]

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Overwrite the weights, in place, with those of a `state_dict`."""
        self.model.load_state_dict(state)

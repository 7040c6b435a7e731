"""What every stage with an optimizer keeps between two updates, and a checkpoint with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from r1core.stages.masters import Masters
from r1core.stages.optimizer import OptimizerConfig, build_optimizer, optimizer_step
from r1core.torch_threads import one_thread


class TrainingState:
    """Optimizer, schedule and counts of a stage.

    Attributes:
        step: updates done.
        steps: updates in all.
        num_tokens: tokens so far, as TRL counts them.
        masters: what the optimizer steps: of bfloat16 parameters float32 copies.
        optimizer: with its moments.
        scheduler: of the learning rate.

    Args:
        parameters: a model's `named_parameters()`.
        config: the optimizer's settings.
        steps: updates of the schedule.
    """

    def __init__(
        self, parameters: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig, steps: int
    ) -> None:
        self.step, self.steps, self.num_tokens = 0, steps, 0.0
        self._max_grad_norm = config.max_grad_norm
        self.masters = Masters(parameters)
        self.optimizer, self.scheduler = build_optimizer(self.masters.named, config, steps)
        self.masters.follow(self.optimizer)

    def update(self, stage: str) -> dict[str, float]:
        """Step on the gradients that are there; return `grad_norm` and `learning_rate`.

        Raises:
            FloatingPointError: the gradient is not finite; nothing was changed.
        """
        learning_rate = float(self.scheduler.get_last_lr()[0])
        where = f"{stage}, step {self.step + 1}"
        with one_thread(parameter for _, parameter in self.masters.named):
            norm = optimizer_step(self.optimizer, self.scheduler, self._max_grad_norm, where)
        self.step += 1
        return {"grad_norm": norm, "learning_rate": learning_rate}

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values that `torch.load(weights_only=True)` reads back."""
        return {
            "step": self.step,
            "num_tokens": self.num_tokens,
            "masters": self.masters.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, with the same settings."""
        self.step, self.num_tokens = state["step"], state["num_tokens"]
        self.masters.load_state_dict(state["masters"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])

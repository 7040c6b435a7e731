"""AdamW, its schedule and the guarded step that every training stage takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from r1core.stages.nonfinite import nonfinite_report


class OptimizerConfig(BaseModel):
    """AdamW with warm-up and decay.

    Attributes:
        lr: peak learning rate; > 0 (R1-Zero: 3e-6; TRL's default: 1e-6).
        betas: decay rates of the moments.
        weight_decay: decoupled weight decay.
        max_grad_norm: gradients are scaled down to this global L2 norm.
        schedule: shape after warm-up, ending at min_lr_ratio * lr.
        warmup_steps: steps of linear warm-up.
        min_lr_ratio: floor of the linear and cosine schedules, as a share of lr.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lr: float = Field(1e-6, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(0, ge=0)
    min_lr_ratio: float = Field(0.0, ge=0, le=1)


def learning_rate_scale(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Return the share of `config.lr` that step `step` (from 0) of `total_steps` uses."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return 1.0
    decaying = max(1, total_steps - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / decaying)
    shape = 1 - progress if config.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * shape


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]], config: OptimizerConfig, total_steps: int
) -> tuple[torch.optim.AdamW, LambdaLR]:
    """Return AdamW over the parameters that require a gradient, and its schedule.

    Args:
        parameters: with their names, which errors speak of: a model's `named_parameters()`.
        config: the settings.
        total_steps: steps of the schedule.
    """
    trainable = [(name, parameter) for name, parameter in parameters if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trainable, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
    )
    scheduler = LambdaLR(optimizer, lambda step: learning_rate_scale(config, step, total_steps))
    return optimizer, scheduler


def optimizer_step(
    optimizer: torch.optim.Optimizer, scheduler: LambdaLR, max_grad_norm: float, where: str
) -> float:
    """Clip the gradient, step, clear the gradient; return the norm before clipping.

    Raises:
        FloatingPointError: the gradient is not finite; the parameters are untouched.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    total_norm = finite_gradient_norm(optimizer, where)  # before clipping, which would spread a NaN
    nn.utils.clip_grads_with_norm_(parameters, max_grad_norm, total_norm)
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()
    return float(total_norm)


def finite_gradient_norm(optimizer: torch.optim.Optimizer, where: str) -> Tensor:
    """Return the global L2 norm of an optimizer's gradients, a scalar.

    Raises:
        FloatingPointError: it is not finite; the gradients are cleared, the parameters untouched.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    total_norm = nn.utils.get_total_norm(gradients)
    if not math.isfinite(float(total_norm)):
        report = nonfinite_report(optimizer)
        optimizer.zero_grad()
        raise FloatingPointError(
            f"{where}: the gradient norm must be finite; got {float(total_norm)}. {report}. This "
            "step changed no parameter; try a lower optimizer.lr, or dtype = float32"
        )
    return total_norm

"""Supervised fine-tuning (DeepSeek-R1, sections 2.3.1, 2.3.3, 2.4; supplement B.4.2, B.4.3).

Next-token cross-entropy on completions; prompts are read and not learned. Examples are packed:
several lie in a row, and none sees another.

Shapes: R examples of a micro-batch, T completion positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from r1core.data import Example, PromptSampler
from r1core.forward import TrainingForward, rollout_logprobs
from r1core.loss_tokens import cross_entropy_tokens
from r1core.policy import Policy
from r1core.stages.examples import as_rollouts
from r1core.stages.metrics import Clock
from r1core.stages.minibatches import split_by_tokens
from r1core.stages.optimizer import OptimizerConfig
from r1core.stages.training_state import TrainingState
from r1core.types import Rollouts, StepStats


class SFTConfig(BaseModel):
    """Settings of the stage; the paper's values where it gives them.

    Attributes:
        epochs: times that every example is seen (paper: 2 to 3).
        batch_size: examples of an optimizer step (paper: 128; distillation: 64).
        max_length: longest example kept, in tokens (paper: 32,768); None takes the model's context.
        optimizer: AdamW; a cosine from 5e-5 to a tenth of it (paper).
        tokens_per_micro_batch: tokens of one forward and backward pass.
    """

    model_config = ConfigDict(extra="forbid")

    epochs: int = Field(2, ge=1)
    batch_size: int = Field(128, ge=1)
    max_length: int | None = Field(None, ge=2)
    optimizer: OptimizerConfig = OptimizerConfig(lr=5e-5, schedule="cosine", min_lr_ratio=0.1)
    tokens_per_micro_batch: int = Field(16_384, ge=1)

    def steps_for(self, count: int) -> int:
        """Return the optimizer steps that so many examples take; the last may be smaller."""
        return math.ceil(count * self.epochs / self.batch_size)


class SFTState(TrainingState):
    """The state of an `sft` stage between two updates."""

    def __init__(self, policy: Policy, config: SFTConfig, count: int) -> None:
        """Begin a stage on `count` examples."""
        super().__init__(policy.model.named_parameters(), config.optimizer, config.steps_for(count))


def sft(
    policy: Policy,
    examples: Sequence[Example],
    config: SFTConfig,
    *,
    seed: int = 0,
    state: SFTState | None = None,
) -> Iterator[StepStats]:
    """Teach `policy`, in place, to write the completions; each epoch in an order of its own.

    Args:
        policy: the policy to train.
        examples: none longer than the model's context.
        config: the settings.
        seed: names the orders.
        state: where to go on from, None to begin; holds the last update that was finished.

    Yields:
        Each update's loss (nats per completion token), entropy, epoch and what the step measured.

    Raises:
        ValueError: there is no example.
        FloatingPointError: the gradient is not finite; the policy is as before the step.
    """
    if not examples:
        raise ValueError("sft: examples must hold at least one; got none")
    state = state or SFTState(policy, config, len(examples))
    seen, total = state.step * config.batch_size, len(examples) * config.epochs
    order = PromptSampler(len(examples), 1, seed)
    order.epoch, order.index = divmod(seen, len(examples))
    while state.step < state.steps:
        clock = Clock()
        index = [order.next()[0][0] for _ in range(min(config.batch_size, total - seen))]
        rollouts = as_rollouts([examples[i] for i in index])
        with clock.phase("forward_backward"):
            metrics = backward(policy, rollouts, config)
        with clock.phase("optimizer"):
            metrics |= state.update("sft")
        seen += len(index)
        state.num_tokens += sum(len(examples[i]) for i in index)
        metrics |= {"num_tokens": state.num_tokens, "epoch": seen / len(examples)}
        yield StepStats(state.step, metrics | clock.metrics())


def backward(policy: Policy, rollouts: Rollouts, config: SFTConfig) -> dict[str, float]:
    """Add the gradient of the mean cross-entropy of a batch's completion tokens."""
    count = int(rollouts.mask_NT.sum())
    loss = entropy = 0.0
    forward = policy.training_forward()
    with forward.on_one_torch_thread():
        way = together if forward.fuses_loss else apart
        for rows in micro_batches(forward, rollouts, config.tokens_per_micro_batch):
            part, part_entropy = way(forward, rows, count)
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.item()
            entropy += part_entropy
    return {"loss": loss, "entropy": entropy}


def together(forward: TrainingForward, rows: Rollouts, count: int) -> tuple[Tensor, float]:
    """Return the loss and the mean entropy of some rows; the head runs once (`policy_loss`)."""
    mask_M = rows.mask_NT[rows.inside_NT]
    packed = cross_entropy_tokens(len(mask_M), count, mask_M)
    loss, metrics, _ = forward.completion_loss(rows, packed)
    assert metrics.entropy is not None
    return loss, metrics.entropy * metrics.tokens / count


def apart(forward: TrainingForward, rows: Rollouts, count: int) -> tuple[Tensor, float]:
    """Do the same by log-probabilities, from whichever forward the policy trains."""
    logprobs_RT, entropies_RT = rollout_logprobs(forward, rows)
    loss = cross_entropy(logprobs_RT, rows) / count
    return loss, float(entropies_RT.detach().sum()) / count


@torch.no_grad()
def evaluation_loss(policy: Policy, examples: Sequence[Example], config: SFTConfig) -> float:
    """Return the mean cross-entropy in nats of the examples' completion tokens."""
    rollouts = as_rollouts(examples)
    forward = policy.training_forward()
    with forward.on_one_torch_thread():
        losses = [
            float(cross_entropy(rollout_logprobs(forward, rows)[0], rows))
            for rows in micro_batches(forward, rollouts, config.tokens_per_micro_batch)
        ]
    return sum(losses) / int(rollouts.mask_NT.sum())


def micro_batches(forward: TrainingForward, rollouts: Rollouts, budget: int) -> Iterator[Rollouts]:
    """Split a batch under the budget of tokens, longest examples first."""
    every_N = torch.ones(rollouts.num_rows, dtype=torch.bool)
    for index_R in split_by_tokens(rollouts, every_N, budget, layout=forward.layout):
        yield rollouts.rows(index_R)


def cross_entropy(logprobs_RT: Tensor, rows: Rollouts) -> Tensor:
    """Return the sum of the tokens' negative log-probabilities."""
    return -logprobs_RT[rows.mask_NT.to(logprobs_RT.device)].sum()

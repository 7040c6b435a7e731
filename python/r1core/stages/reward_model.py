"""Training a reward model (DeepSeek-R1, section 3.1).

Pairs: -log sigmoid(score of the chosen - score of the rejected). Labels: cross-entropy of the
score as a logit. One epoch, batches of 256, 6e-6 in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from r1core.data import PromptSampler
from r1core.reward_model import Part, RewardModel
from r1core.stages.dataset import Row
from r1core.stages.metrics import Clock
from r1core.stages.optimizer import OptimizerConfig
from r1core.stages.training_state import TrainingState
from r1core.types import StepStats


class RewardModelConfig(BaseModel):
    """Settings of the stage; the paper's values.

    Attributes:
        form: "pairs" (prompt, chosen, rejected) or "labels" (prompt, completion, label in 0..1).
        part: what of a completion the model looks at.
        epochs: times that every row is seen.
        batch_size: rows of an optimizer step.
        optimizer: AdamW.
        tokens_per_micro_batch: tokens of one forward and backward pass, padding included.
    """

    model_config = ConfigDict(extra="forbid")

    form: Literal["pairs", "labels"]
    part: Part
    epochs: int = Field(1, ge=1)
    batch_size: int = Field(256, ge=1)
    optimizer: OptimizerConfig = OptimizerConfig(lr=6e-6)
    tokens_per_micro_batch: int = Field(16_384, ge=1)

    def steps_for(self, count: int) -> int:
        """Return the optimizer steps that so many rows take; the last may be smaller."""
        return math.ceil(count * self.epochs / self.batch_size)


class RewardModelState(TrainingState):
    """The state of a `reward_model` stage between two updates."""

    def __init__(self, model: RewardModel, config: RewardModelConfig, count: int) -> None:
        """Begin a stage on `count` rows."""
        super().__init__(model.model.named_parameters(), config.optimizer, config.steps_for(count))


def reward_model(
    model: RewardModel,
    rows: Sequence[Row],
    config: RewardModelConfig,
    *,
    seed: int = 0,
    state: RewardModelState | None = None,
) -> Iterator[StepStats]:
    """Train `model` in place; each epoch in an order of its own.

    Args:
        model: the model to train.
        rows: preference data in the form of `config.form`.
        config: the settings.
        seed: names the orders.
        state: where to go on from, None to begin.

    Yields:
        Each update's loss, accuracy (pairs in the right order, or labels on the right side) and
        mean score.

    Raises:
        ValueError: there is no row, or one lacks a column.
        FloatingPointError: the gradient is not finite; the model is as before the step.
    """
    encoded = encode_rows(model, rows, config)
    state = state or RewardModelState(model, config, len(rows))
    seen, total = state.step * config.batch_size, len(rows) * config.epochs
    order = PromptSampler(len(rows), 1, seed)
    order.epoch, order.index = divmod(seen, len(rows))
    while state.step < state.steps:
        clock = Clock()
        index = [order.next()[0][0] for _ in range(min(config.batch_size, total - seen))]
        with clock.phase("forward_backward"):
            metrics = backward(model, [encoded[i] for i in index], config)
        with clock.phase("optimizer"):
            metrics |= state.update("reward_model")
        seen += len(index)
        state.num_tokens += sum(len(ids) for i in index for ids in encoded[i][0])
        metrics |= {"num_tokens": state.num_tokens, "epoch": seen / len(rows)}
        yield StepStats(state.step, metrics | clock.metrics())


Encoded = tuple[list[list[int]], float]
"""A row's sequences (chosen and rejected, or one) and its label."""


def encode_rows(
    model: RewardModel, rows: Sequence[Row], config: RewardModelConfig
) -> list[Encoded]:
    """Return the rows as token ids."""
    names = ("chosen", "rejected") if config.form == "pairs" else ("completion",)
    needed = ("prompt", *names, *(("label",) if config.form == "labels" else ()))
    if not rows:
        raise ValueError("reward_model: rows must hold at least one; got none")
    for number, row in enumerate(rows):
        if missing := [name for name in needed if row.get(name) is None]:
            raise ValueError(
                f"reward_model: rows of form {config.form!r} must have {', '.join(needed)}; "
                f"row {number} has no {missing[0]!r}"
            )
    return [
        ([model.encode(row["prompt"], row[name]) for name in names], float(row.get("label") or 0))
        for row in rows
    ]


def backward(
    model: RewardModel, batch: Sequence[Encoded], config: RewardModelConfig
) -> dict[str, float]:
    """Add the gradient of a batch's mean loss; return what was measured."""
    loss = right = score = 0.0
    for part in micro_batches(batch, config.tokens_per_micro_batch):
        losses_R, right_R, scores_R = losses(model, part)
        mean = losses_R.sum() / len(batch)
        mean.backward()  # type: ignore[no-untyped-call]
        loss += mean.item()
        right += float(right_R.sum()) / len(batch)
        score += float(scores_R.detach().sum()) / len(batch)
    return {"loss": loss, "accuracy": right, "score": score}


@torch.no_grad()
def evaluation_metrics(
    model: RewardModel, rows: Sequence[Row], config: RewardModelConfig
) -> dict[str, float]:
    """Return `eval/loss` and `eval/accuracy` on rows held out."""
    encoded = encode_rows(model, rows, config)
    loss = right = 0.0
    for part in micro_batches(encoded, config.tokens_per_micro_batch):
        losses_R, right_R, _ = losses(model, part)
        loss += float(losses_R.sum()) / len(rows)
        right += float(right_R.sum()) / len(rows)
    return {"eval/loss": loss, "eval/accuracy": right}


def losses(model: RewardModel, batch: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    """Return each row's loss, whether it is right, and its (first) score, float32 [R]."""
    width = len(batch[0][0])
    scores_RW = model.scores([ids for ids_W, _ in batch for ids in ids_W]).view(-1, width)
    if width == 2:  # chosen, rejected
        margins_R = scores_RW[:, 0] - scores_RW[:, 1]
        return -F.logsigmoid(margins_R), (margins_R > 0).float(), scores_RW[:, 0]
    labels_R = torch.tensor([label for _, label in batch], device=scores_RW.device)
    scores_R = scores_RW[:, 0]
    losses_R = F.binary_cross_entropy_with_logits(scores_R, labels_R, reduction="none")
    return losses_R, ((scores_R > 0) == (labels_R > 0.5)).float(), scores_R


def micro_batches(batch: Sequence[Encoded], budget: int) -> Iterator[list[Encoded]]:
    """Split a batch so that its sequences, padded to the longest, stay within the budget."""
    left = sorted(batch, key=lambda row: -max(map(len, row[0])))
    while left:
        longest = max(map(len, left[0][0])) * len(left[0][0])
        count = max(1, budget // longest)
        yield left[:count]
        left = left[count:]

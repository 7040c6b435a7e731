"""Stage `pretrain`: next-token prediction on documents, until a gate holds.

The base model of an embedded world comes from here. Reinforcement learning can only amplify what
the base is able to do, and a skill forms suddenly, at a step that nobody can tell beforehand; so
the stage measures the skill (the gate) rather than counting steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from r1core.forward import ForwardKind, runs_native
from r1core.grpo_loss_from_hidden import packed_loss_from_hidden
from r1core.hf_head import head_input, head_reason
from r1core.loss_tokens import cross_entropy_tokens
from r1core.native_forward import DecoderTable, completion_hidden
from r1core.native_loss import head_loss
from r1core.stages.packing import IGNORE, PackedBatch, pack
from r1core.types import StepStats

Gate = Callable[[PreTrainedModel], float]
"""Measures the skill that pretraining is for; in [0, 1]."""


@dataclass(frozen=True)
class PretrainConfig:
    """How a base model is trained.

    Attributes:
        steps: optimizer steps over which the learning rate falls; the last step without a gate.
        max_steps: where to give up if the gate does not hold; steps beyond `steps` keep the final
            learning rate.
        rows: rows of a batch.
        row_length: tokens of a row; no document may be longer.
        learning_rate: its peak, reached after `warmup_steps`.
        final_learning_rate: share of the peak that the cosine falls to.
        warmup_steps: linear warm-up.
        betas: AdamW's.
        weight_decay: AdamW's, on matrices only.
        max_grad_norm: gradients are clipped to this norm.
        gate_threshold: training ends when the gate reaches it.
        gate_every: steps between two measurements.
        gate_after: first step at which the gate is measured.
        forward: "native" trains by the engine's kernels, "hf" by the model's own forward; "auto" by
            the engine's where its table describes the model.
    """

    steps: int = 700
    max_steps: int = 1400
    rows: int = 32
    row_length: int = 64
    learning_rate: float = 3e-3
    final_learning_rate: float = 0.1
    warmup_steps: int = 20
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0
    gate_threshold: float = 0.9
    gate_every: int = 25
    gate_after: int = 200
    forward: ForwardKind = "auto"


def pretrain(
    model: PreTrainedModel,
    documents: Iterable[Sequence[int]],
    config: PretrainConfig,
    *,
    gate: Gate | None = None,
) -> Iterator[StepStats]:
    """Train `model` in place on documents; each is seen on its own, without the others.

    With the same documents, weights and thread count, two runs give equal bits.

    Args:
        model: one of the engine's table on the CPU, or any Hugging Face causal language model with
            eager or sdpa attention.
        documents: token ids, the final stop token included; may be endless.
        config: sizes, optimizer and schedule.
        gate: measured every `gate_every` steps; None trains for `steps`.

    Yields:
        Statistics of each step, `forced_accuracy` among them where the gate was measured.

    Raises:
        RuntimeError: the gate did not hold within `max_steps`, or the documents ended first.
        ValueError: a document is empty or longer than `row_length`, or config.forward is "native"
            and the model is not of the engine's table.
    """
    optimizer = _optimizer(model, config)
    batches = pack(documents, rows=config.rows, row_length=config.row_length)
    last_step = min(config.steps, config.max_steps) if gate is None else config.max_steps
    num_tokens, skill = 0, 0.0
    model.train()
    native = runs_native(model, config.forward)
    loss_of = native_document_loss if native else document_loss
    for step, batch in zip(range(1, last_step + 1), batches, strict=False):
        rate = learning_rate(config, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()

        num_tokens += batch.num_tokens
        metrics = {
            "loss": loss.item(),
            "learning_rate": rate,
            "grad_norm": norm.item(),
            "num_tokens": float(num_tokens),
        }
        if gate is not None and _is_gate_step(config, step):
            skill = metrics["forced_accuracy"] = gate(model)
        yield StepStats(step, metrics)
        if gate is not None and skill >= config.gate_threshold:
            return
    if gate is not None:
        raise RuntimeError(
            f"pretrain: the gate must reach {config.gate_threshold:g} within {last_step} steps; "
            f"got {skill:.2f}. Reinforcement learning would have no skill to amplify: raise "
            "max_steps, or give a larger model or an easier world"
        )


def native_document_loss(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """Return `document_loss` by the engine's kernels, without padding and without [B, T, V] logits.

    A document is a sequence whose prompt is its first token: each that follows is scored.
    """
    documents = [torch.tensor(document) for document in batch.documents]
    following_M = torch.cat([ids_T[1:] for ids_T in documents])
    M = len(following_M)
    every = cross_entropy_tokens(M, M)
    hidden_MH = completion_hidden(DecoderTable.of(model), documents, [1] * len(documents))
    loss: Tensor = head_loss(model, hidden_MH, following_M, every)[0]
    return loss


def document_loss(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    """Return the mean cross-entropy in nats of the tokens that follow another in a document.

    0 where there are none.
    """
    rows = batch.rows()
    inputs = {
        "input_ids": rows.tokens_BT,
        "position_ids": rows.positions_BT,
        "attention_mask": rows.mask_B1TT,
    }
    if head_reason(model):
        logits_BTV = model(**inputs, use_cache=False).logits
        total = F.cross_entropy(
            logits_BTV.flatten(0, 1).float(), rows.labels_BT.flatten(), reduction="sum"
        )
        return total / max(1, batch.num_tokens)
    learnt_BT = rows.labels_BT != IGNORE
    hidden_MH, following_M = head_input(model, **inputs)[learnt_BT], rows.labels_BT[learnt_BT]
    head, M = model.get_output_embeddings(), len(following_M)
    loss: Tensor = packed_loss_from_hidden(
        hidden_MH, head.weight, head.bias, following_M, cross_entropy_tokens(M, M)
    )[0]
    return loss


def learning_rate(config: PretrainConfig, step: int) -> float:
    """Return the rate of step 1, 2, ...: linear warm-up, cosine, then constant."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    progress = min(step / config.steps, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    floor = config.final_learning_rate
    return config.learning_rate * (floor + (1 - floor) * cosine)


def _is_gate_step(config: PretrainConfig, step: int) -> bool:
    return step >= config.gate_after and step % config.gate_every == 0


def _optimizer(model: PreTrainedModel, config: PretrainConfig) -> torch.optim.AdamW:
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)

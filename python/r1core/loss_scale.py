"""Does the loss change with gradient accumulation? It must not, and a small model can tell.

A loss that each micro-batch divides by its own count is 0.5 to 4 times off (trl#3021, #5619,
#6024), which no logged metric shows: on-policy the loss is near 0 whatever its scale. So the check
runs the trainer's own pieces on a random model: rows in 1, 2 and 4 micro-batches, one gradient.

Shapes: N rows of one group each, T positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from transformers import Qwen3Config

from r1core.findings import Finding
from r1core.forward import rollout_logprobs
from r1core.grpo_loss import LossNormalizer
from r1core.loss_config import LossConfig
from r1core.policy import Policy
from r1core.stages.minibatches import Rows, micro_batches, split_by_tokens
from r1core.stages.policy_loss import policy_loss
from r1core.stages.rl_config import RLConfig
from r1core.types import Rollouts, SamplingParams, within

Split = Callable[[Rows, LossConfig, int], Iterator[tuple[Rows, LossNormalizer]]]

SPLITS = (1, 2, 4)
"""Micro-batches tried."""

shared_micro_batches = partial(micro_batches, layout="shared")

RELATIVE_DIFFERENCE = 1e-3
"""Largest difference of the gradients, by norm. Sums in another order differ by about 1e-7 in
float32; a wrong divisor by a good part of the gradient (trl#3021: 0.5 to 4 times)."""

SETTINGS = RLConfig(steps=1)

VOCABULARY, ROWS, PROMPT = 64, 8, 3


@dataclass(frozen=True)
class Accumulated:
    """Loss and gradient of all rows, in so many micro-batches."""

    micro_batches: int
    loss: float
    gradient: Tensor


def loss_scale_finding(loss: LossConfig, split: Split = shared_micro_batches) -> Finding | None:
    """Compare loss and gradient of the same rows in 1, 2 and 4 micro-batches.

    Args:
        loss: the settings to try.
        split: how rows become micro-batches with their normalizer; the trainer's.

    Returns:
        None where they agree.
    """
    policy, rows = small_policy(), random_rows()
    whole, *parts = (accumulate(policy, rows, loss, split, budget(rows, n)) for n in SPLITS)
    for part in parts:
        difference = float((part.gradient - whole.gradient).norm() / whole.gradient.norm())
        if not difference <= RELATIVE_DIFFERENCE:
            return Finding(
                0,
                "loss_scale",
                "error",
                f"{part.micro_batches} micro-batches instead of 1 change the gradient by "
                f"{difference:.1%} and the loss from {whole.loss:.4g} to {part.loss:.4g}: the loss "
                "is not divided by the count of the whole step",
                "pass loss_normalizer(mask of the whole minibatch) to grpo_loss as `normalizer`; "
                "until then keep a step in one micro-batch: raise tokens_per_micro_batch",
            )
    return None


def accumulate(
    policy: Policy, rows: Rows, loss: LossConfig, split: Split, tokens: int
) -> Accumulated:
    """Run the rows forward and backward in micro-batches of at most so many tokens."""
    policy.model.zero_grad()
    total, count = 0.0, 0
    forward = policy.training_forward()
    for part, normalizer in split(rows, loss, tokens):
        with torch.no_grad():
            logprobs_RT, _ = rollout_logprobs(forward, part.rollouts)
        part.old_logprobs_RT = logprobs_RT - 0.1  # a ratio that is not 1
        found = policy_loss(
            forward,
            part,
            SETTINGS,
            loss=loss,
            normalizer=normalizer,
            reference_logprobs=logprobs_RT + 0.2 if loss.beta > 0 else None,
        )
        found.loss.backward()  # type: ignore[no-untyped-call]
        total, count = total + float(found.loss.detach()), count + 1
    gradients = [p.grad.flatten() for p in policy.parameters() if p.grad is not None]
    return Accumulated(count, total, torch.cat(gradients))


def budget(rows: Rows, count: int) -> int:
    """Return the smallest token budget that makes at most `count` micro-batches of the rows."""
    chosen_N = torch.ones(ROWS, dtype=torch.bool)
    longest = PROMPT + int(rows.rollouts.lengths_N.max())
    fits = (
        tokens
        for tokens in range(longest, ROWS * longest)
        if len(list(split_by_tokens(rows.rollouts, chosen_N, tokens, layout="shared"))) <= count
    )
    return next(fits, ROWS * longest)


def small_policy() -> Policy:
    """Return a random policy, always the same, that leaves torch's generator as it was."""
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Policy.from_config(config)


def random_rows() -> Rows:
    """Return rows of very different lengths and advantages, where a wrong divisor shows most."""
    generator = torch.Generator().manual_seed(0)
    lengths_N = torch.arange(2, 2 + 3 * ROWS, 3)
    T = int(lengths_N.max())
    mask_NT = within(lengths_N, T)
    zeros_NT = torch.zeros(ROWS, T)
    rollouts = Rollouts(
        prompts=["?"] * ROWS,
        prompt_tokens=[torch.randint(VOCABULARY, (PROMPT,), generator=generator)] * ROWS,
        group_size=1,
        tokens_NT=torch.randint(VOCABULARY, (ROWS, T), generator=generator) * mask_NT,
        logprobs_NT=zeros_NT,
        truncated_logprobs_NT=zeros_NT,
        entropies_NT=zeros_NT,
        lengths_N=lengths_N,
        mask_NT=mask_NT,
        finish_reasons=["stop"] * ROWS,
        sampling=SamplingParams(n=2, max_new_tokens=T),
        prompt_uids=list(range(ROWS)),
    )
    advantages_N = torch.randn(ROWS, generator=generator)
    return Rows(rollouts, mask_NT, advantages_N, None)

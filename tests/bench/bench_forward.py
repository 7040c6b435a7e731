"""The trainer's forward and backward pass over one batch of completions of very unequal lengths.

Packed rows beside padded ones; all weights beside a LoRA adapter; kept activations beside
recomputed ones. Every side goes through the same completions in micro-batches of 2,048 tokens and
sums the same gradients; the losses are compared first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from unittest.mock import patch

import torch
from common import Case, Side, compare, run_topic
from models import GROUP, SMALL

import r1core as r1
from r1core import forward
from r1core.lora import LoraSettings, add_lora
from r1core.stages.minibatches import split_by_tokens
from r1core.types import Rollouts

BUDGET = 2048
LONGEST = 128
TOLERANCE = 1e-4


def main() -> None:
    run_topic("forward", cases)


def cases(rounds: int) -> Iterator[Case]:
    rollouts = unequal_rollouts()
    tokens = int(rollouts.lengths_N.sum())
    mean = tokens / rollouts.num_rows
    work = f"small: 4 x 16 completions, 64 + 1 to {LONGEST} tokens (mean {mean:.0f})"
    policy = SMALL.policy()
    packed, padded = partial(run, policy, rollouts), partial(run, policy, rollouts, padded=True)
    difference = abs(packed() - padded())
    if difference > TOLERANCE * tokens:
        raise SystemExit(f"packed and padded rows differ by {difference}")
    settings = {"rounds": rounds, "memory": True, "tokens": tokens}
    yield compare(work, {"r1core": Side(packed), "padded rows": Side(padded)}, **settings)

    lean = SMALL.policy()
    lean.gradient_checkpointing = True
    sides = {"r1core": Side(partial(run, lean, rollouts)), "kept activations": Side(packed)}
    yield compare(f"{work}, gradient checkpointing", sides, **settings)

    adapted = add_lora(SMALL.policy(), LoraSettings(r=16), seed=0)
    sides = {"r1core": Side(partial(run, adapted, rollouts)), "all weights": Side(packed)}
    yield compare(f"{work}, LoRA of rank 16", sides, **settings)


def unequal_rollouts() -> Rollouts:
    """Return completions cut at lengths like reasoning's: many short, a few at the limit."""
    rollouts = r1.sample_groups(
        SMALL.policy(), SMALL.prompt_tokens().tolist(), SMALL.sampling(LONGEST)
    )
    generator = torch.Generator().manual_seed(0)
    spread_N = torch.empty(SMALL.prompts * GROUP).exponential_(1, generator=generator)
    rollouts.lengths_N = (LONGEST / 4 * spread_N).long().clamp(1, LONGEST)
    return rollouts


def run(policy: r1.Policy, rollouts: Rollouts, *, padded: bool = False) -> float:
    """Return the sum of all log-probabilities, after the backward pass of each micro-batch."""
    total = 0.0
    policy.model.zero_grad()
    chosen_N = torch.ones(rollouts.num_rows, dtype=torch.bool)
    rows = patch.object(forward, "packs", lambda model: False) if padded else None
    with rows or contextlib.nullcontext():
        for index in split_by_tokens(rollouts, chosen_N, BUDGET, packed=not padded):
            logprobs_NT, _ = policy.logprobs(rollouts.rows(index))
            logprobs_NT.sum().backward()
            total += float(logprobs_NT.detach().double().sum())
    return total


if __name__ == "__main__":
    main()

"""Training: the forward and backward pass by our own kernels beside the module's own.

The tiny model learns from 512 completions, 24 + 48 tokens, AdamW included. The small one goes
through completions of very unequal lengths: ours beside the module on packed and on padded rows;
kept activations beside recomputed ones; all weights beside a LoRA adapter. Every side takes the
same completions in micro-batches of 2,048 tokens; the log-probabilities are compared first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from unittest.mock import patch

import torch
from common import Case, Side, compare, run_topic
from models import GROUP, SMALL, TINY, Workload

import r1core as r1
from r1core import hf_forward
from r1core.lora import LoraSettings, add_lora
from r1core.stages.minibatches import split_by_tokens
from r1core.stages.sft import apart, together
from r1core.types import Rollouts

BUDGET = 2048
LONGEST = 128
TOLERANCE = 1e-4


def main() -> None:
    run_topic("forward", cases)


def cases(rounds: int) -> Iterator[Case]:
    yield training(rounds)
    rollouts = unequal_rollouts()
    tokens = int(rollouts.lengths_N.sum())
    mean = tokens / rollouts.num_rows
    work = f"small: 4 x 16 completions, 64 + 1 to {LONGEST} tokens (mean {mean:.0f})"
    native, packed = policy_of(SMALL, "native"), policy_of(SMALL, "hf")
    sides = {
        "r1core": Side(partial(run, native, rollouts)),
        "module, packed rows": Side(partial(run, packed, rollouts)),
        "module, padded rows": Side(partial(run, packed, rollouts, padded=True)),
    }
    check(sides)
    flops = 6 * SMALL.matrix_parameters() * computed_tokens(rollouts)
    settings = {"rounds": rounds, "memory": True, "tokens": tokens, "peak_gflops": peak_gflops()}
    whole = compare(work, sides, **settings)
    median = whole["sides"]["r1core"]["median_ms"]
    whole["gflops"] = round(flops / median / 1e6, 1)
    print(f"  {whole['gflops']} GFLOP/s in all; torch's own product {whole['peak_gflops']}")
    yield whole

    lean = policy_of(SMALL, "native")
    lean.gradient_checkpointing = True
    sides = {"r1core": Side(partial(run, lean, rollouts)), "kept activations": sides["r1core"]}
    yield compare(f"{work}, gradient checkpointing", sides, **settings)

    adapted = add_lora(policy_of(SMALL, "native"), LoraSettings(r=16), seed=0)
    theirs = add_lora(policy_of(SMALL, "hf"), LoraSettings(r=16), seed=0)
    sides = {
        "r1core": Side(partial(run, adapted, rollouts)),
        "module, packed rows": Side(partial(run, theirs, rollouts)),
    }
    yield compare(f"{work}, LoRA of rank 16", sides, **settings)


def training(rounds: int) -> Case:
    """Return the case of whole updates of the tiny model, beside eager attention and AdamW."""
    rollouts = r1.sample_groups(TINY.policy(), TINY.prompt_tokens().tolist(), TINY.sampling())
    native, eager = policy_of(TINY, "native"), policy_of(TINY, "hf")
    eager.model.set_attn_implementation("eager")
    sides = {
        "r1core": Side(partial(run, native, rollouts, optimizer_of(native))),
        "module (eager), padded rows": Side(
            partial(run, eager, rollouts, optimizer_of(eager), padded=True)
        ),
    }
    tokens = int(rollouts.lengths_N.sum())
    work = f"tiny: {TINY.describe()}, with AdamW"
    return compare(work, sides, rounds=rounds, memory=True, tokens=tokens)


def policy_of(workload: Workload, forward: str) -> r1.Policy:
    policy = workload.policy()
    policy.forward = forward
    return policy


def optimizer_of(policy: r1.Policy) -> torch.optim.Optimizer:
    return torch.optim.AdamW(policy.parameters(), lr=1e-6)


def check(sides: dict[str, Side]) -> None:
    """Stop unless all sides give the same cross-entropy."""
    losses = [side.run() for side in sides.values()]
    if max(losses) - min(losses) > TOLERANCE:
        raise SystemExit(f"the sides differ: {losses}")


def computed_tokens(rollouts: Rollouts) -> int:
    """Return the tokens that must run through the layers: each prompt once."""
    return sum(map(len, rollouts.prompt_tokens)) + int((rollouts.lengths_N - 1).sum())


def peak_gflops() -> float:
    """Return what torch's own product of large float32 matrices reaches, best of 5."""
    left, right = torch.randn(2, 2048, 2048)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return round(2 * 2048**3 / best / 1e9, 1)


def unequal_rollouts() -> Rollouts:
    """Return completions cut at lengths like reasoning's: many short, a few at the limit."""
    rollouts = r1.sample_groups(
        SMALL.policy(), SMALL.prompt_tokens().tolist(), SMALL.sampling(LONGEST)
    )
    generator = torch.Generator().manual_seed(0)
    spread_N = torch.empty(SMALL.prompts * GROUP).exponential_(1, generator=generator)
    rollouts.lengths_N = (LONGEST / 4 * spread_N).long().clamp(1, LONGEST)
    return rollouts


def run(
    policy: r1.Policy,
    rollouts: Rollouts,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    padded: bool = False,
) -> float:
    """Return the cross-entropy, after each micro-batch's backward pass, as in stage `sft`."""
    total, count = 0.0, int(rollouts.mask_NT.sum())
    policy.model.zero_grad()
    chosen_N = torch.ones(rollouts.num_rows, dtype=torch.bool)
    with patch.object(hf_forward, "packs", lambda model: not padded):
        forward = policy.training_forward()
    with forward.on_one_torch_thread():
        for index in split_by_tokens(rollouts, chosen_N, BUDGET, layout=forward.layout):
            way = together if forward.layout == "shared" else apart
            loss, _ = way(forward, rollouts.rows(index), count)
            loss.backward()
            total += loss.item()
    if optimizer is not None:
        optimizer.step()
    return total


if __name__ == "__main__":
    main()

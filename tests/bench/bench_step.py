"""One GRPO step of 512 completions, split by phase: r1core's `reasoning_rl` beside TRL's trainer.

The tiny model, 32 prompts x 16 completions, 24 + exactly 48 tokens; a step of r1core follows each
step of TRL. Both run the same Hugging Face module forward and backward, with sdpa attention.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from common import Case, Phases, Samples, case, run_topic
from models import GROUP, TINY
from trl_step import train

import r1core as r1
from r1core.stages import Batch, ReasoningRLConfig, reasoning_rl

BETAS = (0.0, 0.04)
WARM_UP = 2
PHASES = ("sampling", "rewards", "reference", "forward_backward", "optimizer")


def main() -> None:
    run_topic("step", cases)


def cases(rounds: int) -> Iterator[Case]:
    for beta in BETAS:
        yield paired(beta, rounds)


def paired(beta: float, rounds: int) -> Case:
    """Return the case of one KL coefficient."""
    steps = rounds + WARM_UP
    samples = {"r1core": Samples(), "TRL": Samples()}
    mine = our_steps(beta, steps)

    def record(side: str, seconds: float, phases: Phases) -> None:
        named = {name: phases.get(name, 0.0) for name in PHASES}
        samples[side].seconds.append(seconds)
        samples[side].phases.append(named | {"other": seconds - sum(named.values())})

    def on_trl_step(seconds: float, phases: Phases) -> None:
        record("TRL", seconds, phases)
        record("r1core", *next(mine))

    with tempfile.TemporaryDirectory() as folder:
        train(
            TINY,
            TINY.policy().model,
            reward,
            Path(folder),
            beta=beta,
            steps=steps,
            on_step=on_trl_step,
        )
    for side in samples.values():
        del side.seconds[:WARM_UP], side.phases[:WARM_UP]
    tokens = TINY.prompts * GROUP * TINY.new_tokens
    return case(f"tiny: {TINY.describe()}, beta {beta:g}", samples, tokens=tokens)


def our_steps(beta: float, steps: int) -> Iterator[tuple[float, Phases]]:
    """Yield the seconds and phases of each step, with TRL's settings."""
    config = ReasoningRLConfig(
        steps=steps,
        sampling=TINY.sampling(),
        loss={"preset": "trl", "beta": beta},
        optimizer={"lr": 1e-6},
        tokens_per_micro_batch=2048,  # as the quickstart: a micro-batch stays in cache
    )
    rewards = [r1.RewardSpec.resolve(reward)]
    for stats in reasoning_rl(TINY.policy(), batches(steps), rewards, config):
        metrics = stats.metrics
        assert metrics["completions/min_length"] == TINY.new_tokens
        phases = {name: metrics.get(f"time/{name}", 0.0) for name in PHASES}
        yield metrics["step_time"], phases


def batches(steps: int) -> Iterator[Batch]:
    """Yield the same prompts as TRL's side reads."""
    for step in range(steps):
        prompts = TINY.prompt_tokens(seed=step).tolist()
        first = step * len(prompts)
        yield Batch(prompts=prompts, columns={}, uids=list(range(first, first + len(prompts))))


def reward(completion_ids: list[list[int]], **columns: object) -> list[float]:
    """A reward that costs nothing and on which no group agrees."""
    return [sum(ids) % 7 / 7 for ids in completion_ids]


if __name__ == "__main__":
    main()

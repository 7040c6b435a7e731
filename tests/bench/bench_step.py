"""One GRPO step, split by phase: r1core's `reasoning_rl` beside TRL's trainer.

The tiny model, 32 prompts x 16 completions, 24 + exactly 48 tokens, and the small one, 4 x 16
completions, 64 + 128; a step of r1core follows each step of TRL, whose module runs sdpa attention.
Both sides are there all the time, so the memory is what a step adds to it at its peak. The last
step of each measures that and is not timed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from common import Case, Phases, Samples, case, run_topic
from machine import resident, start_of_peak
from models import GROUP, SMALL, TINY, Workload
from trl_step import train

import r1core as r1
from r1core.stages import Batch, ReasoningRLConfig, reasoning_rl

WARM_UP = 2
PHASES = ("sampling", "rewards", "reference", "forward_backward", "optimizer")


def main() -> None:
    run_topic("step", cases)


def cases(rounds: int) -> Iterator[Case]:
    yield paired("tiny", TINY, 0.0, rounds)
    yield paired("tiny", TINY, 0.04, rounds)
    yield paired("small", SMALL, 0.04, min(rounds, 3))


def paired(name: str, workload: Workload, beta: float, rounds: int) -> Case:
    """Return the case of one model and KL coefficient."""
    steps = WARM_UP + rounds + 1
    samples = {"r1core": Samples(), "TRL": Samples()}
    mine = our_steps(workload, beta, steps)

    def record(side: str, before: int | None, seconds: float, phases: Phases) -> None:
        if before is not None:
            samples[side].peak_growth = resident("VmHWM") - before
            return
        named = {name: phases.get(name, 0.0) for name in PHASES}
        samples[side].seconds.append(seconds)
        samples[side].phases.append(named | {"other": seconds - sum(named.values())})

    def on_trl_step(seconds: float, phases: Phases, before: int | None) -> None:
        record("TRL", before, seconds, phases)
        last = before is not None
        record("r1core", start_of_peak() if last else None, *next(mine))

    with tempfile.TemporaryDirectory() as folder:
        train(
            workload,
            workload.policy().model,
            reward,
            Path(folder),
            beta=beta,
            steps=steps,
            on_step=on_trl_step,
        )
    for side in samples.values():
        del side.seconds[:WARM_UP], side.phases[:WARM_UP]
    tokens = workload.prompts * GROUP * workload.new_tokens
    return case(f"{name}: {workload.describe()}, beta {beta:g}", samples, tokens=tokens)


def our_steps(workload: Workload, beta: float, steps: int) -> Iterator[tuple[float, Phases]]:
    """Yield the seconds and phases of each step, with TRL's settings."""
    config = ReasoningRLConfig(
        steps=steps,
        questions_per_step=workload.prompts,
        sampling=workload.sampling(),
        loss={"preset": "trl", "beta": beta},
        optimizer={"lr": 1e-6},
        tokens_per_micro_batch=workload.tokens_per_micro_batch,
    )
    rewards = [r1.RewardSpec.resolve(reward)]
    for stats in reasoning_rl(workload.policy(), batches(workload, steps), rewards, config):
        metrics = stats.metrics
        assert metrics["completions/min_length"] == workload.new_tokens
        assert metrics["sampling/sampling_logp_difference/max"] == 0
        phases = {name: metrics.get(f"time/{name}", 0.0) for name in PHASES}
        yield metrics["step_time"], phases


def batches(workload: Workload, steps: int) -> Iterator[Batch]:
    """Yield the same prompts as TRL's side reads."""
    for step in range(steps):
        prompts = workload.prompt_tokens(seed=step).tolist()
        first = step * len(prompts)
        yield Batch(prompts=prompts, columns={}, uids=list(range(first, first + len(prompts))))


def reward(completion_ids: list[list[int]], **columns: object) -> list[float]:
    """A reward that costs nothing and on which no group agrees."""
    return [sum(ids) % 7 / 7 for ids in completion_ids]


if __name__ == "__main__":
    main()

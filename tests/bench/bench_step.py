"""One GRPO step of 512 completions on the embedded model, split by phase; sampling beside its peer.

make bench        # medians over 10 steps after 2 warm-up steps, 2 threads
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

import r1core as r1
from r1core.manifest import hardware, versions
from r1core.stages import Batch, ReasoningRLConfig, reasoning_rl

PHASES = ("sampling", "rewards", "reference", "forward_backward", "optimizer")
SAMPLING = r1.SamplingParams(n=16, max_new_tokens=48)
STEPS, WARM_UP = 12, 2


def batches(world: r1.worlds.World):
    """Yield 32 questions a step."""
    for step in range(STEPS):
        rows = world.problems("train", 32 * step, 32)
        yield Batch(
            prompts=[row["prompt"] for row in rows],
            columns={"answer": [row["answer"] for row in rows]},
            uids=list(range(32 * step, 32 * step + 32)),
        )


def time_step(world: r1.worlds.World, beta: float, *, forced_length: bool) -> dict[str, float]:
    """Return the median milliseconds of each phase of a step.

    Args:
        world: where questions come from.
        beta: KL coefficient; above 0 the reference is scored too.
        forced_length: every completion has all 48 tokens, and a reward that no group agrees on.
    """
    policy = r1.base_policy(world)
    sampling = replace(SAMPLING, stop_token_ids=()) if forced_length else SAMPLING
    config = ReasoningRLConfig(
        steps=STEPS,
        sampling=sampling,
        loss={"preset": "r1", "beta": beta},
        optimizer={"lr": 1e-9},  # the policy stays the base: every step does the same work
    )

    def varied(completion_ids, **columns):
        return [sum(ids) % 101 for ids in completion_ids]

    rewards = [varied] if forced_length else ["accuracy", "format"]
    specs = [r1.RewardSpec.resolve(reward) for reward in rewards]
    steps = [stats.metrics for stats in reasoning_rl(policy, batches(world), specs, config)]
    steps = steps[WARM_UP:]
    medians = {
        phase: 1e3 * statistics.median(step.get(f"time/{phase}", 0.0) for step in steps)
        for phase in PHASES
    }
    medians["step"] = 1e3 * statistics.median(step["step_time"] for step in steps)
    medians["mean_length"] = statistics.mean(step["completions/mean_length"] for step in steps)
    return {name: round(value, 2) for name, value in medians.items()}


def time_generate(world: r1.worlds.World) -> dict[str, float]:
    """Pair the engine with transformers.generate plus its scoring forward, forced to 48 tokens."""
    policy = r1.base_policy(world)
    prompts = [row["prompt"] for row in world.problems("train", 0, 400) if row["level"] == 6][:32]
    params = replace(SAMPLING, stop_token_ids=())
    tokens = torch.stack(policy.encode(prompts))

    @torch.no_grad()
    def transformers() -> None:
        sequences = policy.model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=True,
            num_return_sequences=16,
            min_new_tokens=48,
            max_new_tokens=48,
            pad_token_id=0,
        )
        logits = policy.model(sequences).logits[:, tokens.shape[1] - 1 : -1]
        logits.log_softmax(-1).gather(-1, sequences[:, tokens.shape[1] :, None])

    def ours() -> None:
        r1.sample_groups(policy, prompts, params)

    seconds: dict[str, list[float]] = {"engine": [], "transformers": []}
    for _ in range(5):  # interleaved, so that noise falls on both
        for name, run in (("engine", ours), ("transformers", transformers)):
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return {
        "engine_tokens_per_second": round(512 * 48 / medians["engine"]),
        "transformers_tokens_per_second": round(512 * 48 / medians["transformers"]),
        "ratio": round(medians["transformers"] / medians["engine"], 1),
    }


def main() -> None:
    """Print the figures as JSON and keep them in results/."""
    world = r1.load_world("sum_chain")
    results = {
        "step, real stops, beta 0 (ms)": time_step(world, 0.0, forced_length=False),
        "step, 48 tokens forced, beta 0 (ms)": time_step(world, 0.0, forced_length=True),
        "step, 48 tokens forced, beta 0.001 (ms)": time_step(world, 0.001, forced_length=True),
        "sampling with log-probabilities, 32 x 16, 48 tokens": time_generate(world),
        "hardware": hardware(),
        "versions": versions(),
    }
    text = json.dumps(results, indent=2)
    print(text)
    name = hardware()["cpu"].replace(" ", "_").replace("(R)", "")
    results_folder = Path(__file__).parent / "results"
    results_folder.mkdir(exist_ok=True)
    (results_folder / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()

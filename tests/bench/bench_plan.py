"""What `r1core plan` predicts beside what a stage takes: memory above the process's own.

Each case is a stage of a few steps on a model with random weights, in a process of its own:

    python tests/bench/bench_plan.py                       # every case on the CPU
    python tests/bench/bench_plan.py --device cuda         # a model of 0.5 billion parameters

On the CPU the figure is how far the resident set rises (VmHWM) above what it was before there was
a model, on a GPU what torch has allocated at most.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from machine import resident, start_of_peak
from plan_cases import CASES, CUDA_CASES, PROMPT, PlanCase
from transformers import AutoConfig

import r1core as r1
from r1core.lora import add_lora
from r1core.manifest import write_atomic
from r1core.plan import StagePlan, find_device, plan_recipe
from r1core.recipe import Recipe, parse_recipe
from r1core.stages import Batch, reasoning_rl
from r1core.stages.ppo import ppo
from r1core.stages.sft import sft

RESULTS = Path(__file__).parent / "results" / "plan.json"
THREADS = 2


def main() -> None:
    """Run the cases, print predicted and measured, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", nargs="*", help="names (default: all of the device)")
    parser.add_argument("--out", type=Path, help=f"results file (default: {RESULTS.name})")
    parser.add_argument("--child", action="store_true", help="in this process; rows on stdout")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("bench_plan: --device cuda needs a GPU, and torch sees none")
    known = CASES if options.device == "cpu" else CUDA_CASES
    if options.child:
        for name in options.cases or known:
            print(json.dumps(measure(known[name], options.device)), flush=True)
        return
    for name in options.cases or [x for x in known if x != "warm_up"]:
        keep(options.out or RESULTS, options.device, compare(name, options.device))


def compare(name: str, device: str) -> dict[str, Any]:
    """Measure one case in a process of its own; return and print its row."""
    row = measured(name, device)
    if "error" in row:
        print(f"{name}: {row['error']}", flush=True)
        return row
    if "malloc" in row["parts_mb"]:  # what is freed goes back at once: what the step asked for
        fixed = measured(name, device, {"MALLOC_MMAP_THRESHOLD_": "131072"})
        row["measured_fixed_threshold_mb"] = fixed.get("measured_mb")
    print(
        f"{name:32} predicted {row['predicted_mb']:8.1f} MB at {row['moment']}, "
        f"measured {row['measured_mb']:8.1f} MB: {row['error_percent']:+.1f} %"
        + (
            f"; {row['asked_mb']} and {x} MB"
            if (x := row.get("measured_fixed_threshold_mb"))
            else ""
        ),
        flush=True,
    )
    return row


def measured(name: str, device: str, more: dict[str, str] | None = None) -> dict[str, Any]:
    """Return a case's row from a child process, or what it failed of."""
    command = [sys.executable, __file__, "--child", "--device", device, "--cases", name]
    environment = os.environ | (more or {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        return {"case": name, "error": done.stderr.strip()[-1000:]}
    row: dict[str, Any] = json.loads(lines[-1])
    return row


def measure(case: PlanCase, device: str) -> dict[str, Any]:
    """Return a case's row: predicted, measured, and the parts of the prediction."""
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        case.config().save_pretrained(folder)
        recipe = parse_recipe(case.recipe(folder, device), case.name)
        predicted = predict(recipe, device)
        if device == "cpu":
            warm_up()
        measured = peak_on_gpu(case, recipe) if device == "cuda" else peak_on_cpu(case, recipe)
    peak = predicted.peak
    parts = {name: mb(size) for name, size in peak.parts.items() if size and name != "process"}
    total = peak.total - peak.parts["process"]
    asked = max(x.total - x.parts["process"] - x.parts.get("malloc", 0) for x in predicted.moments)
    return {
        "case": case.name,
        "parameters": case.parameters(),
        "moment": peak.name,
        "predicted_mb": mb(total),
        "asked_mb": mb(asked),
        "measured_mb": mb(measured),
        "error_percent": round(100 * (total / measured - 1), 1),
        "parts_mb": parts,
        "moments_mb": {x.name: mb(x.total - x.parts["process"]) for x in predicted.moments},
    }


def mb(size: int) -> float:
    """Return megabytes of 2^20 bytes."""
    return round(size / 2**20, 1)


def predict(recipe: Recipe, device: str) -> StagePlan:
    """Return the plan of the recipe's only stage."""
    return plan_recipe(recipe, find_device(device), prompt_tokens=PROMPT).stages[0]


def warm_up() -> None:
    """Load what the first step loads, so that it does not count."""
    case = CASES["warm_up"]
    with tempfile.TemporaryDirectory() as folder:
        case.config().save_pretrained(folder)
        for _ in run(case, parse_recipe(case.recipe(folder, "cpu"), case.name)):
            pass


def peak_on_cpu(case: PlanCase, recipe: Recipe) -> int:
    """Return how far the resident set rises above what it was before the model."""
    before = start_of_peak()
    steps = run(case, recipe)
    next(steps)  # the policy is there: what making it took does not count
    start_of_peak()
    for _ in steps:
        pass
    return resident("VmHWM") - before


def peak_on_gpu(case: PlanCase, recipe: Recipe) -> int:
    """Return what torch has allocated at most."""
    steps = run(case, recipe)
    next(steps)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    for _ in steps:
        pass
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated()


def run(case: PlanCase, recipe: Recipe) -> Iterator[object]:
    """Yield once the policy is there, then after each step."""
    section, stage = recipe.model, recipe.stage[0]
    assert section.path is not None
    policy = make_policy(section.path, section.dtype, section.device)
    if section.lora is not None:
        add_lora(policy, section.lora, seed=0)
    policy.forward = section.forward
    policy.gradient_checkpointing = section.gradient_checkpointing
    yield policy
    if stage.kind == "sft":
        yield from sft(policy, case.examples(), stage)
        return
    rewards = [r1.RewardSpec.resolve(reward)]
    train = ppo if stage.kind == "ppo" else reasoning_rl
    yield from train(policy, batches(case, stage.steps), rewards, stage)


def make_policy(path: str, dtype: str, device: str) -> r1.Policy:
    """Return a policy with random weights, made where it is to be."""
    from transformers import AutoModelForCausalLM

    with torch.device(device):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(path), dtype=getattr(torch, dtype)
        )
    return r1.Policy(model, None)


def batches(case: PlanCase, steps: int) -> Iterator[Batch]:
    """Yield the prompts of each step, all of the length that was planned."""
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        ids = torch.randint(4, case.vocab, (case.prompts, PROMPT), generator=generator).tolist()
        first = step * case.prompts
        yield Batch(prompts=ids, columns={}, uids=list(range(first, first + case.prompts)))


def reward(completion_ids: list[list[int]], **columns: object) -> list[float]:
    """A reward that costs nothing and on which no group agrees."""
    return [sum(ids) % 7 / 7 for ids in completion_ids]


def keep(path: Path, device: str, row: dict[str, Any]) -> None:
    """Replace a case of one device in the results file."""
    results = json.loads(path.read_text()) if path.exists() else {}
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    cases = {old["case"]: old for old in results.get(name, {}).get("cases", [])}
    cases[row["case"]] = row
    results[name] = {"torch": torch.__version__, "cases": list(cases.values())}
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

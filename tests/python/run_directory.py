"""A synthetic run directory: an accuracy that rises, lengths that grow, easy levels first."""

import json
import math
import random

import tomli_w

from r1core.tracking import RunWriter
from r1core.words import REFLECTIVE_WORDS


def skill(step, level, steps):
    return 1 / (1 + math.exp(-(12 * step / steps - 2 - level)))


def training_metrics(step, steps, noise):
    accuracy = min(1, max(0, skill(step, 2, steps) + noise.gauss(0, 0.03)))
    return {
        "reward": accuracy + 0.9,
        "reward_std": 0.5 - 0.4 * step / steps,
        "frac_reward_zero_std": 0.1 + 0.7 * step / steps,
        "rewards/accuracy/mean": accuracy,
        "rewards/format/mean": 0.9,
        "completions/mean_length": 7 + 15 * accuracy,
        "completions/max_length": 25 + 20 * accuracy,
        "completions/clipped_ratio": 0.1 * (1 - accuracy),
        "entropy": 0.9 - 0.6 * accuracy,
        "kl": 0.02 * step / steps,
        "clip_ratio/region_mean": 0.01,
        "clip_ratio/low_mean": 0.006,
        "clip_ratio/high_mean": 0.004,
        "sampling/sampling_logp_difference/mean": 1e-6 * (1 + noise.random()),
        "sampling/sampling_logp_difference/max": 1e-4 * (1 + noise.random()),
        "grad_norm": 1 + noise.random(),
        "time/sampling": 0.4 + 0.2 * accuracy,
        "time/rewards": 0.05,
        "time/reference": 0.2,
        "time/forward_backward": 0.8 + 0.3 * accuracy,
        "time/optimizer": 0.02,
        "step_time": 1.6 + 0.5 * accuracy,
        "tokens_per_second": 8000 + 500 * noise.random(),
    }


def evaluation_rows(step, steps, noise):
    rows = []
    for question in range(40):
        level = question % 4 + 2
        right = noise.random() < skill(step, level, steps)
        terms = "+".join("123456789"[:level])
        thoughts = "wait, let me check " * (step > 0) + "so it is"
        rows += [
            {
                "prompt": f"{terms}+{question}=",
                "completion": f"<think>{thoughts}</think><answer>{question}</answer>",
                "answer": str(question),
                "level": level,
                "sample": sample,
                "accuracy": float(right),
                "format": 1.0,
                "length": 7 + step // 3,
            }
            for sample in range(2)
        ]
    return rows


def evaluation_metrics(rows, step):
    mean = sum(row["accuracy"] for row in rows) / len(rows)
    words = {f"eval/words/{word}": 0.0 for word in REFLECTIVE_WORDS}
    words |= {"eval/words/wait": 0.01 * step, "eval/words/check": 0.02 * step}
    length = rows[0]["length"]
    return {"eval/pass@1": mean, "eval/format": 1.0, "eval/mean_length": length} | words


def write_stage(writer, stage, steps, last):
    noise = random.Random(0)
    for step in range(last + 1):
        if step % 10 == 0:
            rows = evaluation_rows(step, steps, noise)
            writer.log(stage, step, evaluation_metrics(rows, step))
            writer.log_evaluation(stage, step, rows)
        if step:
            writer.log(stage, step, training_metrics(step, steps, noise))


def write_run(directory, stages=("zero",), steps=60, last=60):
    with RunWriter(directory) as writer:
        for stage in stages:
            write_stage(writer, stage, steps, last)
    tables = {
        "name": "r1_tiny",
        "seed": 0,
        "model": {"world": "sum_chain"},
        "stage": [{"name": stage, "kind": "reasoning_rl", "steps": steps} for stage in stages],
    }
    (directory / "recipe.toml").write_text(tomli_w.dumps(tables))
    manifest = {"seed": 0, "versions": {"torch": "2.13"}, "hardware": {"cores": 2, "gpu": None}}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory

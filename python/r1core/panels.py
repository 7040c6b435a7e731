"""Which curves a report shows of a stage; `plots` draws them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from r1core.report_data import StageRecord
from r1core.words import REFLECTIVE_WORDS

TRAIN, EVAL, THIRD, GREY = "#2b6cb0", "#dd6b20", "#2f855a", "#8a94a3"
COLOURS = (TRAIN, EVAL, THIRD, "#b83280", "#6b46c1", "#975a16")


@dataclass(frozen=True)
class Line:
    """One metric of a panel."""

    metric: str
    label: str
    colour: str = TRAIN
    marker: str = ""


@dataclass(frozen=True)
class Panel:
    """One small plot; `unit` labels its y axis, `scale` is "", "share" or "log"."""

    title: str
    unit: str
    lines: Sequence[Line]
    scale: str = ""


def learning_panels(stage: StageRecord) -> list[Panel]:
    """Return the panels that say what was learnt, or kept, by the stage's kind."""
    panels = {
        "sft": supervised_panels,
        "distill": supervised_panels,
        "reward_model": supervised_panels,
        "cold_start": dataset_panels,
        "rejection_sampling": dataset_panels,
        "preferences": dataset_panels,
    }
    return panels.get(stage.settings.get("kind", ""), reinforcement_panels)(stage)


def supervised_panels(stage: StageRecord) -> list[Panel]:
    """Return the panels of fine-tuning and of reward models."""
    rows = stage.settings.get("kind") == "reward_model"
    return [
        Panel(
            "Loss",
            "nats per row" if rows else "nats per token",
            [Line("loss", "training"), Line("eval/loss", "held out", EVAL, "o")],
        ),
        Panel(
            "Accuracy",
            "share of rows right",
            [Line("accuracy", "training"), Line("eval/accuracy", "held out", EVAL, "o")],
            "share",
        ),
        Panel("Learning rate", "", [Line("learning_rate", "AdamW")]),
    ]


def dataset_panels(stage: StageRecord) -> list[Panel]:
    """Return the panels of a stage that makes a data set."""
    rejected = [name for name in stage.names() if name.startswith("rejected/")]
    colours = [TRAIN, EVAL, *COLOURS[2:], GREY, "#2c7a7b", "#c53030"]
    lost = [
        Line(name, name.removeprefix("rejected/").replace("_", " "), colour)
        for name, colour in zip(rejected, colours, strict=False)
    ]
    return [
        Panel("Kept", "completions or pairs per round", [Line("kept", "kept", THIRD)]),
        Panel("Rejected, and why", "completions per round", lost),
        Panel("Completion length", "tokens", [Line("completions/mean_length", "mean")]),
    ]


def reinforcement_panels(stage: StageRecord) -> list[Panel]:
    """Return the panels of reinforcement learning."""
    rewards = [name for name in stage.names() if re.fullmatch(r"rewards/.+/mean", name)]
    accuracy = [name for name in rewards if "accuracy" in name][:1]
    others = [name for name in rewards if name not in accuracy]
    by_function = zip([*accuracy, *others], [*COLOURS[: len(accuracy)], *COLOURS[2:]], strict=False)
    shares = "eval/mean_reward" not in stage.names()
    return [
        Panel(
            "Accuracy",
            "share of answers right",
            [
                *(Line(name, "training, sampled") for name in accuracy),
                *([Line("eval/pass@1", "evaluation, pass@1", EVAL, "o")] if shares else []),
            ],
            "share",
        ),
        Panel(
            "Reward",
            "mean reward",
            [
                Line("reward", "weighted sum", GREY),
                *(Line(name, name.split("/")[1], colour) for name, colour in by_function),
                *([] if shares else [Line("eval/pass@1", "evaluation, mean", EVAL, "o")]),
            ],
        ),
        Panel(
            "Completion length",
            "tokens",
            [
                Line("completions/mean_length", "training, mean"),
                Line("completions/max_length", "training, longest", GREY),
                Line("eval/mean_length", "evaluation, mean", EVAL, "o"),
            ],
        ),
        Panel("Reflective words", "per completion", word_lines(stage)),
        Panel("Reward spread", "std in a group", [Line("reward_std", "mean over groups")]),
        Panel(
            "Groups without a signal",
            "share of groups that agree",
            [Line("frac_reward_zero_std", "all rewards equal")],
            "share",
        ),
    ]


def word_lines(stage: StageRecord) -> list[Line]:
    """Return the sum of the reflective words and the most frequent ones at the end."""
    last = {word: stage.series(f"eval/words/{word}")[1][-1:] for word in REFLECTIVE_WORDS}
    used = [(values[0], word) for word, values in last.items() if values and values[0] > 0]
    frequent = [word for _, word in sorted(used, reverse=True)[:4]]
    lines = [
        Line(f"eval/words/{word}", word, colour)
        for word, colour in zip(frequent, COLOURS[1:], strict=False)
    ]
    return [Line("eval/words", "all ten", GREY, "o"), *lines]


def optimisation_panels() -> list[Panel]:
    """Return the panels that say whether training was sound."""
    difference = "sampling/sampling_logp_difference"
    return [
        Panel("Entropy", "nats per token", [Line("entropy", "mean")]),
        Panel("KL to the reference", "nats per token", [Line("kl", "estimate")]),
        Panel(
            "Clipped ratios",
            "share of tokens",
            [
                Line("clip_ratio/region_mean", "either side", GREY),
                Line("clip_ratio/low_mean", "below", TRAIN),
                Line("clip_ratio/high_mean", "above", EVAL),
            ],
        ),
        Panel(
            "Sampler against trainer",
            "nats, |difference of log-probabilities|",
            [Line(f"{difference}/mean", "mean"), Line(f"{difference}/max", "max", EVAL)],
            "log",
        ),
        Panel("Gradient norm", "L2, before clipping", [Line("grad_norm", "all parameters")]),
        Panel(
            "Cut-off completions",
            "share of completions",
            [Line("completions/clipped_ratio", "reached the length limit")],
            "share",
        ),
    ]

"""What a diagnosis says, and the rules over logged metrics that come to it.

A rule takes the records of one stage so far, oldest first, and yields a finding where the newest
ones show a trouble. A record is what a step logged: `step`, and TRL's metric names. Each threshold
stands here with its reason; `rules_policy` and `rules_rewards` have the rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
Record = Mapping[str, Any]
History = Sequence[Record]


@dataclass(frozen=True)
class Finding:
    """One trouble of a run.

    Attributes:
        step: step at which it shows first.
        name: what it is, in a few letters; a stage has at most one finding of a name.
        severity: "error": nothing, or something wrong, is learnt; "warning": learning is hampered;
            "note": good to know, the run is in order.
        cause: what is seen and why it is so.
        cure: what to change.
    """

    step: int
    name: str
    severity: Severity
    cause: str
    cure: str


Rule = Callable[[History], Iterator[Finding]]

PATIENCE = 3
"""Steps in a row that must show a lasting trouble: one step of hard questions is bad luck."""

LOOK_BACK = 256
"""Records searched for the last `PATIENCE` with a metric: only each 16th has rollouts, in R1."""

MOST_GROUPS = 0.9
"""Share of groups without variance from which a step learns next to nothing: a tenth of the batch
is left. A run that ends with 95 % correct answers, as the quickstart does, has 0.5 to 0.8."""

ANSWERED = 0.5
"""Mean score that tells easy questions from hard ones, where all answers of a group score alike."""

MOST_CLIPPED = 0.5
"""Share of completions cut off at the limit: their answers, which come last, mostly get lost."""

GAP_MEAN_NATS = 0.05
"""Mean difference between sampler and trainer. The engine in float32 has 1e-6; in bfloat16 a tenth
of the tokens may be 0.1 off (verl#6280). At 0.05 the average ratio is 5 % off, a quarter of the
usual clip range."""

GAP_MAX_NATS = 3.0
"""Largest difference of one token: its probability is 20 times off, which rounding does not do."""

GAP_GROWTH = 100.0
"""Growth over the stage's first steps: rounding stays as it was, stale weights drift away."""

GAP_NOISE_NATS = 1e-3
"""Differences below this do no harm, whatever their growth."""

ENTROPY_LEFT = 0.1
"""Share of the first entropy below which all answers of a group are nearly one and the same."""

ENTROPY_LEAST_NATS = 0.01
"""A stage that begins below this has no entropy to lose."""

GAIN_IN_STDS = 1.0
"""Reward gained, in first standard deviations within a group, that excuses a lost entropy: whoever
has learnt the task is sure of it. The quickstart gains 2 to 3."""

REWARD_LEFT = 0.25
"""Share of its best reward below which a policy is broken, not unlucky."""

CHANCE_IN_STDS = 0.5
"""A fall of the mean reward by less than this, in standard deviations within a group, may be
chance: the mean over 4 groups of 16 alone has an error of an eighth."""

MOST_LOOPED = 0.2
"""Share of completions ending in a loop; a sound policy has under 0.01, a lost one goes to 1."""

DEAD_STEPS = 10
"""Steps from the first in which a reward function gave one and the same score."""

MOST_ABSTAINED = 0.5
"""Share of completions that a reward function cannot grade."""

FEW_USED = 0.2
"""Share of drawn groups that dynamic sampling could use: below, it draws five times too many."""

PENALTY = re.compile(r"penalty|punishment|overlong", re.IGNORECASE)
"""Names of functions whose best score is 0: that they never pay is no trouble."""

FORMAT = re.compile(r"format|tag", re.IGNORECASE)
"""Names of functions that look at the template alone."""

_REWARD_MEAN = re.compile(r"rewards/(?P<name>.+)/mean")


def last_values(history: History, metric: str, count: int = PATIENCE) -> list[float]:
    """Return a metric's last `count` finite values; none where there are fewer of them."""
    found: list[float] = []
    for record in reversed(history[-LOOK_BACK:]):
        value = record.get(metric)
        if value is not None and math.isfinite(value):
            found.append(value)
            if len(found) == count:
                return found[::-1]
    return []


def first_values(history: History, metric: str, count: int = PATIENCE) -> list[float]:
    """Return a metric's first `count` finite values; none where there are fewer of them."""
    found: list[float] = []
    for record in history:
        value = record.get(metric)
        if value is not None and math.isfinite(value):
            found.append(value)
            if len(found) == count:
                return found
    return []


def mean(values: Sequence[float]) -> float:
    """Return the mean of at least one value."""
    return sum(values) / len(values)


def reward_means(history: History) -> dict[str, float]:
    """Return each reward function's mean over the last steps, by name."""
    graded = (record for record in reversed(history[-LOOK_BACK:]) if "reward" in record)
    newest = next(graded, {})
    names = [m["name"] for key in newest if (m := _REWARD_MEAN.fullmatch(key))]
    values = {name: last_values(history, f"rewards/{name}/mean") for name in names}
    return {name: mean(found) for name, found in values.items() if found}

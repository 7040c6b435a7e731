"""Preference data: pairs for a helpfulness model, labels for a safety one (DeepSeek-R1, 3.1).

A judge compares two answers in both orders, so that favouring the first shown cancels out; pairs
it hardly prefers are dropped, and the rest is balanced: as many chosen answers are longer than
their rejected ones as are shorter, so that length alone says nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from pydantic import Field

from r1core.policy import Policy
from r1core.sampling import sample_groups
from r1core.stages.dataset import DatasetStats, Row, SampledConfig
from r1core.stages.judge import Judge, Label
from r1core.stages.metrics import Clock, length_metrics
from r1core.stages.questions import Batch


class PreferenceConfig(SampledConfig):
    """Settings of the stage, and those of `SampledConfig`.

    Attributes:
        pairs_per_prompt: pairs of a prompt's answers that are judged.
        judgements: times that each order of a pair is judged; their mean counts (paper: 4 in all).
        min_margin: smallest preference kept, on the judge's scale (paper: above 1 of 10).
    """

    pairs_per_prompt: int = Field(2, ge=1)
    judgements: int = Field(1, ge=1)
    min_margin: float = Field(1.0, ge=0)


def preference_pairs(
    policy: Policy, batches: Iterable[Batch], judge: Judge, config: PreferenceConfig
) -> Iterator[DatasetStats]:
    """Yield rows of prompt, chosen, rejected and margin; `judged` and `kept` count pairs."""
    for step, rows, answers, metrics in sampled(policy, batches, config):
        pairs = [
            (row, first, second)
            for row, texts in zip(rows, answers, strict=True)
            for first, second in some_pairs(texts, config.pairs_per_prompt, row["prompt"])
        ]
        found = []
        for (row, first, second), margin in zip(pairs, margins(pairs, judge, config), strict=True):
            if margin is None or margin == 0 or abs(margin) < config.min_margin:
                continue
            chosen, rejected = (first, second) if margin > 0 else (second, first)
            found.append(row | {"chosen": chosen, "rejected": rejected, "margin": abs(margin)})
        counts = {"judged": float(len(pairs)), "kept": float(len(found))}
        yield DatasetStats(step, metrics | counts, rows=found)


Pair = tuple[Row, str, str]


def margins(pairs: Sequence[Pair], judge: Judge, config: PreferenceConfig) -> list[float | None]:
    """Return how much better the first answer of each pair is: the mean over both orders.

    None where any judgement could not be had: what is left would favour the place.
    """
    swapped = [(row, second, first) for row, first, second in pairs]
    verdicts = judge([*pairs, *swapped] * config.judgements)
    found: list[float | None] = []
    for k in range(len(pairs)):
        ahead, behind = verdicts[k :: 2 * len(pairs)], verdicts[k + len(pairs) :: 2 * len(pairs)]
        scores = [*ahead, *(None if x is None else -x for x in behind)]
        known = [score for score in scores if score is not None]
        found.append(sum(known) / len(known) if len(known) == len(scores) else None)
    return found


def safety_labels(
    policy: Policy, batches: Iterable[Batch], label: Label, config: PreferenceConfig
) -> Iterator[DatasetStats]:
    """Yield rows of prompt, completion and label (1: safe); equal answers count once."""
    for step, rows, answers, metrics in sampled(policy, batches, config):
        asked = [
            (row, text)
            for row, texts in zip(rows, answers, strict=True)
            for text in dict.fromkeys(texts)
        ]
        found = [
            row | {"completion": text, "label": safe}
            for (row, text), safe in zip(asked, label(asked), strict=True)
            if safe is not None
        ]
        counts = {"judged": float(len(asked)), "kept": float(len(found))}
        yield DatasetStats(step, metrics | counts, rows=found)


def sampled(
    policy: Policy, batches: Iterable[Batch], config: PreferenceConfig
) -> Iterator[tuple[int, list[Row], list[list[str]], dict[str, float]]]:
    """Yield step, the questions as rows, the answers to each and what was measured."""
    G = config.sampling.n
    for step, batch in enumerate(batches, start=1):
        clock = Clock()
        with clock.phase("sampling"):
            rollouts = sample_groups(policy, batch.prompts, config.sampling, prompt_uids=batch.uids)
        texts = rollouts.texts()
        rows = [
            {
                name: values[p]
                for name, values in batch.columns.items()
                if name not in ("text", "parts")
            }
            for p in range(len(batch.uids))
        ]
        answers = [texts[p * G : (p + 1) * G] for p in range(len(batch.uids))]
        yield step, rows, answers, length_metrics(rollouts) | clock.metrics(rollouts)


def some_pairs(texts: Sequence[str], count: int, key: Any) -> list[tuple[str, str]]:
    """Return a few pairs of different answers, chosen at random by a key."""
    pairs = list(combinations(dict.fromkeys(texts), 2))
    generator = random.Random(f"pairs/{key}")
    return sorted(pairs, key=lambda _: generator.random())[:count]


def balanced(rows: Sequence[Row]) -> list[Row]:
    """Return pairs of which as many chosen answers are longer than the rejected as are shorter.

    Pairs of equal length stay; of the larger side those with the smallest margin go first.
    """
    difference = [len(row["chosen"].split()) - len(row["rejected"].split()) for row in rows]
    sides = [
        sorted(
            (k for k, d in enumerate(difference) if sign * d > 0), key=lambda k: -rows[k]["margin"]
        )
        for sign in (1, -1)
    ]
    count = min(map(len, sides))
    kept = {k for side in sides for k in side[:count]}
    return [row for k, row in enumerate(rows) if difference[k] == 0 or k in kept]

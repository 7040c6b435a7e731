"""Rejection sampling: which of many completions are worth imitating (DeepSeek-R1, B.3.2, B.3.3).

correct -> finished -> readable (one language, no loops, no walls of text, no code) -> not a
duplicate of a better one -> the best few of each prompt.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from r1core.repetition import loop_length, repeated_ngram_share, words
from r1core.rewards import language_consistency
from r1core.types import RewardTable, Rollouts


class SelectionConfig(BaseModel):
    """What a completion must be like to be kept.

    Attributes:
        min_score: lowest score that counts as correct, of the reward "accuracy" or else the first.
        min_language: lowest share of the thinking's words in the question's language (the column
            "language", or English); completions with too few words to tell pass. 0 asks nothing.
        max_repetition: highest share of word 4-grams that occurred before; completions that end in
            a loop are never kept.
        max_paragraph: words of the longest paragraph; None asks nothing.
        code_blocks: whether fenced code may stand in it.
        max_overlap: completions of one prompt that share more of their word n-grams (Jaccard
            index) with a better one are its duplicates.
        ngram_size: words of those n-grams.
        per_prompt: completions kept of one prompt.
        best: what is better among correct ones, after the reward.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_score: float = 1.0
    min_language: float = Field(0.95, ge=0, le=1)
    max_repetition: float = Field(0.5, ge=0, le=1)
    max_paragraph: int | None = Field(None, ge=1)
    code_blocks: bool = False
    max_overlap: float = Field(0.8, ge=0, le=1)
    ngram_size: int = Field(3, ge=1)
    per_prompt: int = Field(1, ge=1)
    best: Literal["shortest", "longest"] = "shortest"


@dataclass(frozen=True)
class Selection:
    """What was kept, and why the rest was not.

    Attributes:
        kept: rows of the rollouts, prompt by prompt, the best first.
        rejected: reason -> completions; the first reason of each counts.
    """

    kept: list[int]
    rejected: dict[str, int]


def select(
    rollouts: Rollouts,
    table: RewardTable,
    columns: Mapping[str, Sequence[Any]] | None = None,
    config: SelectionConfig | None = None,
) -> Selection:
    """Choose the completions that are correct, readable, different and best.

    Args:
        rollouts: N completions of P prompts.
        table: their scores.
        columns: the dataset's, P values each; "language" says which each question is in.
        config: the rules.
    """
    config = config or SelectionConfig()
    texts, G = rollouts.texts(), rollouts.group_size
    language = (columns or {}).get("language") or ["en"] * len(rollouts.prompt_tokens)
    correct_N = correctness(table)
    totals_N = table.total_N.tolist()
    rejected: Counter[str] = Counter()
    kept: list[int] = []
    for p in range(len(rollouts.prompt_tokens)):
        passing = []
        for n in range(p * G, (p + 1) * G):
            if not correct_N[n] >= config.min_score:
                fault: str | None = "wrong"
            elif rollouts.finish_reasons[n] != "stop":
                fault = "unfinished"
            else:
                fault = unreadable(texts[n], str(language[p]), config)
            if fault is None:
                passing.append(n)
            else:
                rejected[fault] += 1
        sign = 1 if config.best == "shortest" else -1
        passing.sort(key=lambda n: (-totals_N[n], sign * int(rollouts.lengths_N[n]), n))
        different = distinct([texts[n] for n in passing], config)
        rejected["duplicate"] += len(passing) - len(different)
        chosen = [passing[k] for k in different[: config.per_prompt]]
        rejected["surplus"] += len(different) - len(chosen)
        kept += chosen
    return Selection(kept, {name: count for name, count in rejected.items() if count})


def correctness(table: RewardTable) -> list[float]:
    """Return the scores that say what is correct; NaN where that reward abstained."""
    name = "accuracy" if "accuracy" in table.scores else next(iter(table.scores))
    return [float(score) for score in table.scores[name].tolist()]


def unreadable(text: str, language: str, config: SelectionConfig) -> str | None:
    """Return the first rule of readability that a completion breaks; None where it reads well."""
    if config.min_language > 0:
        share = language_consistency([text], language=language)[0]
        if not math.isnan(share) and share < config.min_language:
            return "mixed_language"
    said = words(text)
    if loop_length(said) or repeated_ngram_share(said) > config.max_repetition:
        return "repetition"
    if config.max_paragraph is not None:
        longest = max((len(words(part)) for part in re.split(r"\n\s*\n", text)), default=0)
        if longest > config.max_paragraph:
            return "long_paragraph"
    if not config.code_blocks and "```" in text:
        return "code_block"
    return None


def distinct(texts: Sequence[str], config: SelectionConfig) -> list[int]:
    """Return which texts are no near-duplicates of an earlier one."""
    chosen: list[int] = []
    seen: list[set[tuple[str, ...]]] = []
    for k, text in enumerate(texts):
        found = ngrams(text, config.ngram_size)
        if all(overlap(found, other) <= config.max_overlap for other in seen):
            chosen.append(k)
            seen.append(found)
    return chosen


def ngrams(text: str, size: int) -> set[tuple[str, ...]]:
    """Return a text's word n-grams; of a shorter text, all its words as one."""
    said = [word.lower() for word in words(text)]
    return {tuple(said[i : i + size]) for i in range(max(1, len(said) - size + 1))}


def overlap(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    """Return the Jaccard index of two sets."""
    return len(a & b) / len(a | b) if a or b else 1.0

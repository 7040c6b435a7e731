"""Rewards in TRL's call shape: f(prompts, completions, **columns) -> one score per completion.

A completion is a text, or the messages of one reply; a score of None abstains.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from r1core.rewards.math_policy import DEFAULT_POLICY, MathPolicy
from r1core.rewards.options import read_policy
from r1core.rewards.verify import FORMAT_OK, Style, format_faults, single_tags, verify_math

Completion = str | Sequence[dict[str, Any]]

THINK = "<think>"


def accuracy_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    answer: Sequence[Any] | None = None,
    solution: Sequence[Any] | None = None,
    accepted: Sequence[Sequence[str]] | None = None,
    *,
    policy: MathPolicy | Mapping[str, Any] = DEFAULT_POLICY,
    **columns: Any,
) -> list[float | None]:
    """Score 1 where the final answer equals the gold, else 0 (DeepSeek-R1, section 2.2).

    Args:
        prompts: not used.
        completions: N replies.
        answer: N golds, text or numbers; a dataset column.
        solution: the same under TRL's name, used where there is no `answer`.
        accepted: N lists of right answers as texts, for questions with several; used instead of
            the gold. The answer is what the only <answer> holds, compared word by word.
        policy: what counts as the same where conventions differ; in a recipe,
            `policy = { precision = 4 }`.
        columns: not used.

    Returns:
        N scores; None where the gold cannot be read.

    Raises:
        ValueError: neither column is there, or `policy` has a setting that is none.
    """
    if accepted is not None:
        return [
            float(answer_words(text_of(completion)) in [text.split() for text in texts])
            for completion, texts in zip(completions, accepted, strict=True)
        ]
    golds = answer if answer is not None else solution
    if golds is None:
        raise ValueError(
            "accuracy_reward: the data must have a column 'answer' or 'solution'; "
            f"got {sorted(columns) or 'none'}"
        )
    rules = policy if isinstance(policy, MathPolicy) else read_policy(policy)
    texts = [text_of(completion) for completion in completions]
    verdicts = verify_math(texts, [gold_text(gold) for gold in golds], policy=rules)
    return [None if math.isnan(verdict.score) else verdict.score for verdict in verdicts]


def answer_words(text: str) -> list[str] | None:
    """Return the words in a text's <answer>; None unless there is exactly one."""
    found = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    return found[0].split() if len(found) == 1 else None


def format_reward(
    prompts: Sequence[Any] | None,
    completions: Sequence[Completion],
    *,
    style: Style = "think_answer",
    prefix: str | None = None,
    **columns: Any,
) -> list[float]:
    """Score 1 where a completion follows the template, else 0; see `format_faults`.

    Args:
        prompts: N prompts, or None; see `prefix`.
        completions: N replies.
        style: "think_answer" or "think_summary".
        prefix: put in front of each completion: "<think>" for a trainer whose chat template opens
            the tag out of sight. None puts it where the prompt is a text that ends with <think> and
            the completion does not begin with another. r1core's own stages do that by themselves.
        columns: not used.
    """
    faults = format_faults(opened(prompts, completions, prefix), style=style)
    return [float(fault == FORMAT_OK) for fault in faults]


def tag_count_reward(
    prompts: Sequence[Any] | None,
    completions: Sequence[Completion],
    *,
    prefix: str | None = None,
    **columns: Any,
) -> list[float]:
    """Score a quarter for each of the four tags that occurs exactly once; order does not count.

    `prefix` is that of `format_reward`.
    """
    return [count / 4 for count in single_tags(opened(prompts, completions, prefix))]


def opened(
    prompts: Sequence[Any] | None, completions: Sequence[Completion], prefix: str | None
) -> list[str]:
    """Return the completions' texts with what the template opened; see `format_reward`."""
    texts = [text_of(completion) for completion in completions]
    if prefix is not None:
        return [prefix + text for text in texts]
    if prompts is None or len(prompts) != len(texts):  # a caller that has none at hand
        return texts
    return [
        THINK + text if opens_think(prompt) and not text.lstrip().startswith(THINK) else text
        for prompt, text in zip(prompts, texts, strict=True)
    ]


def opens_think(prompt: Any) -> bool:
    """Tell whether a prompt is a text that leaves the completion inside of <think>."""
    return isinstance(prompt, str) and prompt.rstrip().endswith(THINK)


def text_of(completion: Completion) -> str:
    """Return the text of a completion; of messages, the last one's."""
    if isinstance(completion, str):
        return completion
    if completion and not isinstance(completion[-1], Mapping):
        raise ValueError(
            "text_of: completions must be text or messages; got token ids, for want of a tokenizer"
        )
    content = completion[-1].get("content") if completion else None
    if isinstance(content, list):  # parts, as multi-modal templates have them
        return "".join(part.get("text") or "" for part in content)
    return content or ""


def gold_text(gold: Any) -> str:
    """Return a gold as the verifier reads it; a number is spelled out without an exponent."""
    if isinstance(gold, str):
        return gold
    if isinstance(gold, float) and math.isfinite(gold):
        return format(Decimal(repr(gold)), "f")
    return "" if gold is None else str(gold)

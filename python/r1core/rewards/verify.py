"""The rules on plain texts: one C++ call per batch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

from r1core import _C
from r1core.rewards.math_policy import DEFAULT_POLICY, MathPolicy

Status = Literal["correct", "wrong", "no_answer", "unparsed_answer", "unparsed_gold", "over_limit"]
Style = Literal["think_answer", "think_summary"]

FORMAT_OK = "ok"
"""What `format_faults` says of a text that follows the template."""


class Verdict(NamedTuple):
    """What the verifier says about one completion.

    Attributes:
        status: "correct"; "wrong"; "no_answer" where the completion gives none; "unparsed_answer"
            where it gives one that cannot be read; "unparsed_gold" where the gold cannot; and
            "over_limit" where judging would take more work than allowed.
        answer: the part of the completion that was judged; None where there is none.
    """

    status: Status
    answer: str | None

    @property
    def score(self) -> float:
        """1 if correct, NaN if the gold cannot be read, else 0."""
        if self.status == "unparsed_gold":
            return math.nan
        return float(self.status == "correct")


def verify_math(
    completions: Sequence[str],
    golds: Sequence[str],
    *,
    policy: MathPolicy = DEFAULT_POLICY,
    threads: int | None = None,
) -> list[Verdict]:
    r"""Grade the final answer of each completion against a gold, as mathematics.

    The answer is the body of the last `<answer>`, or else the last `\boxed{...}`, or else what
    follows a marker ("The answer is", "####", and their like in Chinese, French, German and
    Spanish), or else a last line that is a formula, or its last number. Where there is a
    `</think>`, only what comes after it counts. Golds are bare, boxed, or worked solutions that
    end in GSM8K's `#### 18`. docs/verifier.md lists the kinds of answers: numbers of every
    spelling, expressions, sets, intervals, matrices, equations, inequalities, words.

    Arithmetic is exact. Work is bounded by counted steps, not by a clock: no input hangs, and the
    verdict is the same on every machine.

    Args:
        completions: N texts; any characters, lone surrogates included.
        golds: N texts.
        policy: what counts as the same where conventions differ.
        threads: at most this many, >= 1; None takes every core. The verdicts do not depend on it.

    Returns:
        N verdicts, in order.

    Raises:
        ValueError: not one gold per completion, or an item that is no string.
    """
    if threads is None:
        threads = os.cpu_count() or 1
    return [Verdict(*row) for row in _C.verify_math(completions, golds, policy, threads)]


def math_equal(answer: str, gold: str, policy: MathPolicy = DEFAULT_POLICY) -> Verdict:
    """Compare two bare answers, as `verify_math` does once it has found them."""
    return Verdict(_C.math_equal(answer, gold, policy), answer)


def format_faults(texts: Sequence[str], *, style: Style = "think_answer") -> list[str]:
    """Return the first rule of the template that each text breaks, or "ok".

    Args:
        texts: completions.
        style: "think_answer" for `<think>..</think><answer>..</answer>`, each tag exactly once, in
            order, with something in it and nothing but blanks outside; "think_summary" for
            `<think>..</think>` and then some text.

    Raises:
        ValueError: another style, or an item that is no string.
    """
    return _C.format_faults(texts, style)


def single_tags(texts: Sequence[str]) -> list[int]:
    """Return how many of the four tags each text has exactly once, in any order: 0 to 4."""
    return _C.single_tags(texts)

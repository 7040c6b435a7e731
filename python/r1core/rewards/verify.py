"""The rules on plain texts: one C++ call per batch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

from r1core import _C

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
    completions: Sequence[str], golds: Sequence[str], *, threads: int | None = None
) -> list[Verdict]:
    r"""Grade the final answer of each completion against a gold, as exact numbers.

    The answer is the body of the last `<answer>`, or else the last `\boxed{...}`; where there is a
    `</think>`, only what comes after it counts. Golds are bare, boxed, or worked solutions that end
    in GSM8K's `#### 18`. Integers, decimals, fractions, thousands, currency and percent
    are read; their values are compared exactly, whatever their length.

    Args:
        completions: N texts; any characters, lone surrogates included.
        golds: N texts.
        threads: at most this many, >= 1; None takes every core. The verdicts do not depend on it.

    Returns:
        N verdicts, in order.

    Raises:
        ValueError: not one gold per completion, or an item that is no string.

    Note:
        A percent sign on one side only is read both ways: "45%" equals both "0.45" and "45".
    """
    if threads is None:
        threads = os.cpu_count() or 1
    return [Verdict(*row) for row in _C.verify_math(completions, golds, threads)]


def math_equal(answer: str, gold: str) -> Verdict:
    """Compare two bare answers, as `verify_math` does once it has found them."""
    return Verdict(_C.math_equal(answer, gold), answer)


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

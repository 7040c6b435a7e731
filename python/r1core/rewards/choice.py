"""Answers that are letters of options: MMLU, GPQA, C-Eval and their like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from r1core import _C
from r1core.rewards.functions import Completion, gold_text, text_of
from r1core.rewards.verify import Verdict


def verify_choice(
    completions: Sequence[str],
    golds: Sequence[str],
    *,
    options: Sequence[Sequence[str] | None] | None = None,
) -> list[Verdict]:
    r"""Grade the option that each completion chooses.

    The choice is the first of these that is there, the last if several: the body of `<answer>`; a
    `\boxed{...}`; what an announcement says ("The answer is (B)"; also in Chinese, French, German
    and Spanish); "B is correct"; a letter in bold; a last line that begins with a letter. A text
    that is an option's counts as its letter. Where there is a `</think>`, only what comes after it
    counts. Two letters are no answer, unless the gold has several; refutations ("not B") and
    articles ("A triangle") are none.

    Args:
        completions: N texts; any characters.
        golds: N golds: a letter, several ("A, C"), or the text of an option.
        options: N lists of the options' texts, A first; None where they are not known, and A to J
            are letters then.

    Returns:
        N verdicts, in order; "unparsed_gold" where the gold is neither letter nor option.

    Raises:
        ValueError: not one gold or list per completion, or an item that is no string.
    """
    if options is None:
        options = [None] * len(completions)
    rows = _C.verify_choice(completions, golds, [row if row is not None else [] for row in options])
    return [Verdict(*row) for row in rows]


def choice_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    answer: Sequence[Any] | None = None,
    solution: Sequence[Any] | None = None,
    options: Sequence[Sequence[str] | None] | None = None,
    choices: Sequence[Sequence[str] | None] | None = None,
    **columns: Any,
) -> list[float | None]:
    """Score 1 where the chosen option is the gold, else 0; see `verify_choice`.

    Args:
        prompts: not used.
        completions: N replies.
        answer: N golds; a dataset column.
        solution: the same under TRL's name, used where there is no `answer`.
        options: N lists of options' texts, a dataset column.
        choices: the same under another usual name.
        columns: not used.

    Returns:
        N scores; None where the gold cannot be read.

    Raises:
        ValueError: neither column of golds is there.
    """
    golds = answer if answer is not None else solution
    if golds is None:
        raise ValueError(
            "choice_reward: the data must have a column 'answer' or 'solution'; "
            f"got {sorted(columns) or 'none'}"
        )
    verdicts = verify_choice(
        [text_of(completion) for completion in completions],
        [gold_text(gold) for gold in golds],
        options=options if options is not None else choices,
    )
    return [None if math.isnan(verdict.score) else verdict.score for verdict in verdicts]

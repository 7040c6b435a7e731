"""Repetition: n-grams that stood before, and endings that go round in circles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from r1core import _C
from r1core.rewards.functions import Completion, text_of

NO_LIMIT = 2**62


class Loop(NamedTuple):
    """The end of a text where one unit stands over and over; zeros where there is none.

    Attributes:
        length: characters covered.
        period: characters of the unit; the last one may be cut off.
    """

    length: int
    period: int


def repetition_penalty(
    texts: Sequence[str], *, ngram_size: int = 3, max_penalty: float = -1.0
) -> list[float]:
    """Punish words n-grams that stood before: (1 - distinct / all) * max_penalty.

    Yeo et al., "Demystifying Long Chain-of-Thought Reasoning", appendix C.2, as in open-r1's
    get_repetition_penalty_reward. Words are lower-cased and separated by blanks; Han, kana and the
    letters of Thai and its like are a word each.

    Args:
        texts: N texts; any characters.
        ngram_size: words per n-gram; >= 1.
        max_penalty: what a text that only repeats itself comes near to; <= 0.

    Returns:
        N numbers in [max_penalty, 0]; 0 for texts of fewer than `ngram_size` words.

    Raises:
        ValueError: an argument is out of range, or an item is no string.
    """
    _require_penalty(max_penalty)
    shares = _C.repeated_word_ngrams([text.lower() for text in texts], ngram_size)
    return _scaled(shares, max_penalty)


def token_repetition_penalty(
    completion_ids: Sequence[Sequence[int]], *, ngram_size: int = 3, max_penalty: float = -1.0
) -> list[float]:
    """Punish n-grams of token ids that stood before, as TRL does; see `repetition_penalty`.

    Args:
        completion_ids: N sequences of ids; >= 0.
        ngram_size: tokens per n-gram; >= 1.
        max_penalty: what a sequence that only repeats itself comes near to; <= 0.

    Raises:
        ValueError: an argument is out of range.
    """
    _require_penalty(max_penalty)
    return _scaled(_C.repeated_token_ngrams(completion_ids, ngram_size), max_penalty)


def repetition_penalty_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    completion_ids: Sequence[Sequence[int]] | None = None,
    *,
    ngram_size: int = 3,
    max_penalty: float = -1.0,
    unit: Literal["words", "tokens"] = "words",
    **columns: Any,
) -> list[float]:
    """Punish repeated n-grams of words (open-r1) or of token ids (TRL).

    Args:
        prompts: not used.
        completions: N replies.
        completion_ids: N sequences of token ids, for `unit="tokens"`.
        ngram_size: words or tokens per n-gram; >= 1.
        max_penalty: the lowest score; <= 0.
        unit: what n-grams are made of.
        columns: not used.

    Returns:
        N scores in [max_penalty, 0].

    Raises:
        ValueError: an argument is out of range, or tokens are asked for and there are none.
    """
    if unit == "words":
        texts = [text_of(completion) for completion in completions]
        return repetition_penalty(texts, ngram_size=ngram_size, max_penalty=max_penalty)
    if unit != "tokens" or completion_ids is None:
        raise ValueError(
            "repetition_penalty_reward: unit must be 'words', or 'tokens' with completion_ids; "
            f"got {unit!r}"
        )
    return token_repetition_penalty(completion_ids, ngram_size=ngram_size, max_penalty=max_penalty)


def longest_periodic_suffix(
    texts: Sequence[str],
    *,
    min_repeats: int = 3,
    min_length: int = 24,
    max_period: int = NO_LIMIT,
) -> list[Loop]:
    """Return the longest end of each text that repeats one unit: "wait wait wait".

    Args:
        texts: N texts; any characters.
        min_repeats: how often the whole unit must stand there; >= 2.
        min_length: characters it must cover; >= 1. A row of zeros may be an answer.
        max_period: longest unit, in characters; >= 1.

    Returns:
        N loops in characters, so that no script needs blanks; (0, 0) where there is none.

    Raises:
        ValueError: an argument is out of range, or an item is no string.
    """
    return [Loop(*pair) for pair in _C.text_loops(texts, max_period, min_repeats, min_length)]


def _require_penalty(max_penalty: float) -> None:
    if not (max_penalty <= 0 and math.isfinite(max_penalty)):
        raise ValueError(f"repetition_penalty: max_penalty must be <= 0; got {max_penalty}")


def _scaled(shares: Sequence[float], max_penalty: float) -> list[float]:
    return [share * max_penalty if share else 0.0 for share in shares]

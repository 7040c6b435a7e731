"""Does a completion end in a loop? The commonest way in which a policy stops reasoning.

Works on anything that is a sequence: token ids, or the words of a text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

from r1core import _C

MAX_PERIOD = 256
"""Longest unit of a loop looked for, in tokens: a long sentence, a line of working."""

MIN_REPEATS = 4
"""Times the unit must stand in a row: a refrain or a table row comes two or three times."""

MIN_LOOP = 24
"""Tokens a loop must cover: "0 0 0 0" may be an answer, and costs nothing."""

WINDOW = 2048
"""Tokens looked at, from the end: a loop never ends by itself, so it is there if there is one."""

SAMPLED = 64
"""Completions of a step looked at, evenly spread: enough for a share to within about 0.1."""

_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Split a text into words and single marks; white space separates."""
    return _WORD.findall(text)


def loop_length(tokens: Sequence[Hashable]) -> int:
    """Return how many tokens at the end repeat one unit over and over; 0 where they do not.

    The longest suffix of the last `WINDOW` tokens with a period of at most `MAX_PERIOD` that stands
    at least `MIN_REPEATS` times and covers at least `MIN_LOOP` tokens.
    """
    numbers: dict[Hashable, int] = {}  # equal tokens, of whatever kind, are one number
    window = [numbers.setdefault(token, len(numbers)) for token in tokens[-WINDOW:]]
    return _C.token_loop(window, MAX_PERIOD, MIN_REPEATS, MIN_LOOP)[0]


def repeated_ngram_share(tokens: Sequence[Hashable], n: int = 4) -> float:
    """Return the share of n-grams that stood before: 0 for none, towards 1 for a loop."""
    ngrams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def looped_ratio(completions: Sequence[Sequence[Hashable]]) -> float:
    """Return the share of completions that end in a loop, of at most `SAMPLED` of them."""
    chosen = completions[:: max(1, -(-len(completions) // SAMPLED))]
    return sum(loop_length(tokens) > 0 for tokens in chosen) / len(chosen) if chosen else 0.0

"""Reflective words: how often a completion stops to reconsider (DeepSeek-R1, appendix C.2)."""

from __future__ import annotations

import re

REFLECTIVE_WORDS = (
    "wait",
    "mistake",
    "however",
    "but",
    "retry",
    "error",
    "verify",
    "wrong",
    "evaluate",
    "check",
)
"""The paper's list, merged from three experts."""

# ASCII boundaries: a word between Chinese characters, which have no spaces, still counts.
_PATTERN = re.compile(rf"\b(?:{'|'.join(REFLECTIVE_WORDS)})\b", re.IGNORECASE | re.ASCII)


def count_reflective_words(text: str) -> dict[str, int]:
    """Count each reflective word in one completion.

    Args:
        text: the completion, tags included.

    Returns:
        Every word of `REFLECTIVE_WORDS`, in its order -> occurrences, 0 included.

    Note:
        The paper does not define a match; here only the whole word counts, in any case: "Wait,"
        does, "mistakes" and "wait_for" don't.
    """
    counts = dict.fromkeys(REFLECTIVE_WORDS, 0)
    for word in _PATTERN.findall(text):
        counts[word.lower()] += 1
    return counts

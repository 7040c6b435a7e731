"""Language consistency: is the thinking in the language it should be in?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from r1core import _C
from r1core.rewards.functions import Completion, text_of

Part = Literal["think", "all"]


def language_consistency(
    texts: Sequence[str],
    *,
    language: str | Sequence[str] = "en",
    min_words: int = 8,
    part: Part = "think",
    function_words: bool = False,
) -> list[float]:
    """Return the share of words that are in the target language (DeepSeek-R1, section 2.3.2).

    A language is told by its scripts: a Han character or a kana is a word of its own; Thai and its
    like, written without blanks, count a word per four letters; else a run of letters is a word.
    Mathematics, code, links, tags, digits, names of functions (sin, log) and lone Latin or Greek
    letters (x, π) are left out. A word that mixes look-alike scripts or hides invisible characters
    is in no language.

    Args:
        texts: N texts; any characters.
        language: ISO 639 code, or N of them. Languages that share a script (ru and uk, ar and fa)
            are not told apart. Korean is Hangul alone; Han counts as Japanese only where at least a
            tenth of the characters are kana, so a Chinese text is neither.
        min_words: texts with fewer words say nothing; >= 0 (0 is as 1).
        part: "think" looks between <think> and </think>, of which the template may have opened the
            first; at all of a text with neither tag. "all" looks at everything.
        function_words: tell en, fr, de, es, it, pt and nl apart by their commonest words: the share
            is multiplied by the language's own part among those found, given at least five.

    Returns:
        N shares in [0, 1]; NaN for texts of fewer than `min_words` words.

    Raises:
        ValueError: a language or part that is not known, `function_words` for a language without a
            list, not one language per text, or an item that is no string.
    """
    if part not in ("think", "all"):
        raise ValueError(f"language_consistency: part must be 'think' or 'all'; got {part!r}")
    languages = [language] * len(texts) if isinstance(language, str) else list(language)
    if len(languages) != len(texts):
        raise ValueError(
            f"language_consistency: language must be one code or one per text, {len(texts)}; "
            f"got {len(languages)}"
        )
    shares = [math.nan] * len(texts)
    for code in dict.fromkeys(languages):
        rows = [n for n, other in enumerate(languages) if other == code]
        found = _C.language_shares(
            [texts[n] for n in rows], code, min_words, part == "think", function_words
        )
        for n, share in zip(rows, found, strict=True):
            shares[n] = math.nan if share is None else share
    return shares


def language_consistency_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    language: str | Sequence[str] = "en",
    *,
    min_words: int = 8,
    part: Part = "think",
    function_words: bool = False,
    short: Literal["abstain"] | float = "abstain",
    **columns: Any,
) -> list[float | None]:
    """Score the share of the thinking's words that are in the target language.

    Args:
        prompts: not used.
        completions: N replies.
        language: a code, or N of them: a dataset column, such as the language of each question.
        min_words: see `language_consistency`, as for `part` and `function_words`.
        part: which part of a completion is looked at.
        function_words: whether languages of the Latin script are told apart.
        short: what a completion of fewer than `min_words` words scores: "abstain" for None, or a
            number in [0, 1]. A policy could learn to write next to nothing in order to abstain;
            0 takes that way out.
        columns: not used.

    Raises:
        ValueError: as `language_consistency`, and for another `short`.
    """
    if short != "abstain" and not (isinstance(short, (int, float)) and 0 <= short <= 1):
        raise ValueError(
            "language_consistency_reward: short must be 'abstain' or a number in [0, 1]; "
            f"got {short!r}"
        )
    shares = language_consistency(
        [text_of(completion) for completion in completions],
        language=language,
        min_words=min_words,
        part=part,
        function_words=function_words,
    )
    otherwise = None if short == "abstain" else float(short)
    return [otherwise if math.isnan(share) else share for share in shares]

"""Sum-chains in two languages: digits as words, in English or in Chinese.

A question names its digits in its language; a reply guesses, or works through them letter by
letter: the letter, its digit, the running sum::

    Sum a four b seven c five d two A:<think> guess</think><answer> 3</answer>
    Sum a four b seven c five d two A:<think> a four four b seven one c five six d two eight</think>
    求和 a 四 b 七 c 五 d 二 A:<think> a 四 四 b 七 一 c 五 六 d 二 八</think><answer> 8</answer>

Before the cold start nothing keeps the languages apart: of the worked traces of the corpus, some
are in the question's language, some mix both word by word, some are in the other one.
"""

from __future__ import annotations

from dataclasses import dataclass

from r1core.worlds.bilingual_words import DIGITS, LANGUAGES, index_of, word
from r1core.worlds.sum_chain import LETTERS, Draws, noisy_sums

OPENINGS = {"en": "Sum", "zh": "求和"}
NOTES = {"en": "Note", "zh": "笔记"}
SO = {"en": "so", "zh": "得"}
GUESS = {"en": "guess", "zh": "猜"}
FIRST_PERSON = {"en": "I add", "zh": "我 算"}
SUMMARIES = {"en": "The answer is {} .", "zh": "答案 是 {} 。"}


@dataclass(frozen=True)
class Chain:
    """A sum of digits, asked in a language."""

    digits: tuple[int, ...]
    language: str

    @property
    def sums(self) -> tuple[int, ...]:
        """The running sums modulo ten."""
        return noisy_sums(self.digits, Draws(), 0.0)

    @property
    def answer(self) -> str:
        """The sum modulo ten, as a figure."""
        return str(self.sums[-1])

    def digits_text(self) -> str:
        """Spell the digits with their letters: "a four b seven"."""
        return " ".join(
            f"{letter} {word(DIGITS, digit, self.language)}"
            for letter, digit in zip(LETTERS, self.digits, strict=False)
        )

    def prompt(self) -> str:
        """Spell the question."""
        return f"{OPENINGS[self.language]} {self.digits_text()} A:"

    def trace(self, sums: tuple[int, ...], languages: Languages) -> str:
        """Spell each step as letter, digit, running sum; `languages` chooses that of each word."""
        words = []
        for letter, digit, total in zip(LETTERS, self.digits, sums, strict=False):
            words += [letter, *(word(DIGITS, value, languages.next()) for value in (digit, total))]
        return " " + " ".join(words)

    def summary(self, answer: str | int) -> str:
        """Say the answer in the question's language."""
        return " " + SUMMARIES[self.language].format(answer)


class Languages:
    """The language of each word of a trace: always the same, or drawn word by word."""

    def __init__(self, language: str, draws: Draws | None = None) -> None:
        """Take one language, or with `draws` either at even odds."""
        self._language, self._draws = language, draws

    def next(self) -> str:
        """Return the language of the next word."""
        return LANGUAGES[self._draws.below(2)] if self._draws else self._language


def other(language: str) -> str:
    """Return the other language."""
    return LANGUAGES[1 - LANGUAGES.index(language)]


def read_trace(text: str) -> list[tuple[int, int, int]] | None:
    """Return the steps of a trace, whatever its languages; None where it is none.

    Words that are neither letters nor digits are passed over.
    """
    letters = {letter: k for k, letter in enumerate(LETTERS)}
    known = [(letters.get(w), index_of(DIGITS, w)) for w in text.split()]
    known = [pair for pair in known if pair != (None, None)]
    steps = []
    for at in range(0, len(known), 3):
        step = known[at : at + 3]
        if [letter is None for letter, _ in step] != [False, True, True]:
            return None
        steps.append((step[0][0], step[1][1], step[2][1]))
    return steps or None  # type: ignore[return-value]

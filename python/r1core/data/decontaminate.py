"""Removing training texts that share words with an evaluation: n-gram decontamination.

DeepSeek-R1, appendix D.1, removes what shares a 10-gram with an evaluation question. Paraphrases
are not found, as the paper admits.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1core.data.sources import Row, read_rows
from r1core.data.spec import DataSpec

# A character of a script that is written without blanks is a word by itself.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
APOSTROPHE = re.compile("['\u2019]")
QUESTION_COLUMNS = ("question", "prompt", "problem", "Question", "text")


@dataclass(frozen=True)
class Match:
    """Why a text was removed.

    Attributes:
        index: of the text.
        gram: the words that it shares, with a blank between them.
        question: index of the first evaluation question that has them.
    """

    index: int
    gram: str
    question: int


@dataclass(frozen=True)
class Decontaminated:
    """What `decontaminate` kept and removed: indices of texts, in order, and matches."""

    kept: list[int]
    removed: list[Match]


class GramIndex:
    """The n-grams of evaluation questions.

    Args:
        questions: their texts.
        n: words of a gram, >= 1. A text with fewer words matches only one with the same words.

    Raises:
        ValueError: n < 1, or one text in place of several.
    """

    def __init__(self, questions: Iterable[str], n: int = 10) -> None:
        check_several("questions", questions)
        if n < 1:
            raise ValueError(f"decontaminate: n must be >= 1; got {n}")
        self.n = n
        self._first: dict[str, int] = {}  # gram, or a short text whole -> first question with it
        for index, question in enumerate(questions):
            for gram in grams(question, n):
                self._first.setdefault(gram, index)

    def find(self, text: str) -> tuple[str, int] | None:
        """Return the first gram that a text shares and the question it is of; None if it is clean.

        One pass over the text: a look-up in a hash table per word.
        """
        for gram in grams(text, self.n):
            if gram in self._first:
                return gram, self._first[gram]
        return None


def decontaminate(texts: Iterable[str], questions: Iterable[str], *, n: int = 10) -> Decontaminated:
    """Remove training texts that share an n-gram with any evaluation question.

    Words are compared in lower case and without punctuation; characters of Chinese and Japanese
    are words of their own. A text of fewer than n words is compared whole.

    Args:
        texts: training texts.
        questions: evaluation questions.
        n: words of a gram, >= 1 (paper: 10).

    Raises:
        ValueError: n < 1, or one text in place of several.
    """
    check_several("texts", texts)
    index = GramIndex(questions, n)
    kept, removed = [], []
    for number, text in enumerate(texts):
        if (found := index.find(text)) is None:
            kept.append(number)
        else:
            removed.append(Match(number, *found))
    return Decontaminated(kept, removed)


def check_several(name: str, texts: Iterable[str]) -> None:
    """Raise ValueError for a single text, whose characters would pass for texts."""
    if isinstance(texts, str):
        raise ValueError(f"decontaminate: {name} must be a list of texts; got {texts!r}")


def grams(text: str, n: int) -> Iterable[str]:
    """Yield a text's n-grams in order; the whole of a text with fewer words; nothing of none."""
    plain = APOSTROPHE.sub("", unicodedata.normalize("NFKC", text).casefold())
    words = WORD.findall(plain)
    if len(words) < n:
        return [" ".join(words)] if words else []
    return (" ".join(words[start : start + n]) for start in range(len(words) - n + 1))


def clean_rows(rows: Sequence[Row], spec: DataSpec) -> list[Row]:
    """Return the rows that share no n-gram with the evaluations that `spec.decontaminate` names.

    A row's prompt, completion and messages are looked at, each on its own.
    """
    if not spec.decontaminate:
        return list(rows)
    index = GramIndex(
        (text for name in spec.decontaminate for text in evaluation_questions(name)),
        spec.decontaminate_ngram,
    )
    columns = dict.fromkeys(("prompt", spec.prompt, "completion", spec.completion, "messages"))
    return [
        row
        for row in rows
        if not any(index.find(text) for name in columns for text in texts_of(row.get(name)))
    ]


def evaluation_questions(name: str) -> list[str]:
    """Return the questions of a named evaluation set, or of a file.

    Raises:
        ValueError: it cannot be read, or its rows have no question.
    """
    from r1core.eval_sets import EVAL_SETS, load_eval_set  # which are made of this package

    if name in EVAL_SETS:
        return [str(row["question"]) for row in load_eval_set(name).questions.rows]
    table = read_rows(DataSpec(path=str(Path(name).expanduser()), split="test"))
    found = []
    for index, row in enumerate(table.rows):
        column = next((column for column in QUESTION_COLUMNS if row.get(column)), None)
        if column is None:
            raise ValueError(
                f"decontaminate: rows must have a column {', '.join(QUESTION_COLUMNS)}; "
                f"{table.where(index)} has {', '.join(row)}"
            )
        found.append("\n".join(texts_of(row[column])))
    return found


def texts_of(value: Any) -> list[str]:
    """Return a text, or those of messages; nothing of anything else."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        contents = (item.get("content") for item in value if isinstance(item, dict))
        return [content for content in contents if isinstance(content, str)]
    return []

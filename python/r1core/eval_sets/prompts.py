"""What a policy is asked: the paper's directive for mathematics, letters for options, programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

Grader = Literal["math", "choice", "code"]
Question = dict[str, Any]
"""A row as a set's reader returns it: question, answer, worked, and perhaps level and options."""

LETTERS = "ABCDEFGHIJ"

MATH_DIRECTIVE = "Please reason step by step, and put your final answer within \\boxed{}."
"""DeepSeek-R1, appendix D.1 and the official README."""

CHOICE_DIRECTIVE = (
    "Answer the following multiple choice question. The last line of your response should be of "
    "the following format: 'Answer: $LETTER' (without quotes) where LETTER is one of {letters}. "
    "Think step by step before answering."
)
"""The prompt of simple-evals, which DeepSeek-R1, appendix D.1, evaluates MMLU and GPQA with."""

CODE_DIRECTIVE = (
    "Write a Python program that solves the following problem. Put the whole program in one block "
    "that begins with ```python and ends with ```."
)


def zero_shot(row: Question, grader: Grader) -> str:
    """Return a question with the directive of its kind, and with its options by letter."""
    if grader == "math":
        return f"{row['question']}\n{MATH_DIRECTIVE}"
    return f"{directive(row, grader)}\n\n{body(row)}"


def few_shot(row: Question, examples: Sequence[Question], grader: Grader) -> str:
    """Return a question after worked examples; the text ends where the solution begins."""
    shown = [f"Question: {body(x)}\nSolution: {x['worked']}" for x in examples]
    return "\n\n".join([directive(row, grader), *shown, f"Question: {body(row)}\nSolution:"])


def directive(row: Question, grader: Grader) -> str:
    """Return what tells the policy how to answer."""
    if grader == "choice":
        return CHOICE_DIRECTIVE.format(letters=LETTERS[: len(row["options"])])
    return MATH_DIRECTIVE if grader == "math" else CODE_DIRECTIVE


def body(row: Question) -> str:
    """Return the question, and its options a line each."""
    options = row.get("options") or []
    lines = [f"{letter}) {text}" for letter, text in zip(LETTERS, options, strict=False)]
    return "\n\n".join([row["question"], "\n".join(lines)]) if lines else str(row["question"])

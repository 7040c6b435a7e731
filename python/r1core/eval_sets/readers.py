"""One reader per format: a row as published -> question, answer, worked solution, level, options.

A reader raises KeyError for a column that is not there and ValueError for what it cannot read.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from r1core.data.sources import Row
from r1core.eval_sets.prompts import LETTERS, Question

CALCULATOR = re.compile(r"<<[^<>]*>>")  # GSM8K's notes of arithmetic: 2*3=<<2*3=6>>6


def read_gsm8k(row: Row) -> Question:
    r"""Read `question`, `answer`: a worked text that ends in "#### 18"; as a shot, \boxed{18}."""
    worked, _, final = row["answer"].rpartition("####")
    worked = CALCULATOR.sub("", worked).strip()
    return {
        "question": row["question"],
        "answer": row["answer"],
        "worked": f"{worked}\nThe answer is \\boxed{{{final.strip()}}}.",
    }


def read_math(row: Row) -> Question:
    """Read MATH: `problem`, `solution`, `level`, and `answer` where the set has it."""
    solution = row.get("solution")
    found = {
        "question": row["problem"],
        "answer": row["answer"] if solution is None else row.get("answer", solution),
        "worked": solution,
    }
    return found | {name: row[name] for name in ("level", "subject") if name in row}


def read_mmlu(row: Row) -> Question:
    """Read MMLU: `question`, `choices`, `answer` as an index, `subject`."""
    letter = LETTERS[checked_index(row["answer"], len(row["choices"]))]
    return {
        "question": row["question"],
        "options": list(row["choices"]),
        "answer": letter,
        "worked": f"Answer: {letter}",
        "subject": row["subject"],
    }


def read_mmlu_pro(row: Row) -> Question:
    """Read MMLU-Pro: `question`, `options`, `answer` as a letter, `cot_content`, `category`."""
    reasoning = (row.get("cot_content") or "").removeprefix("A: ").strip()
    checked_index(LETTERS.find(row["answer"]), len(row["options"]))
    return {
        "question": row["question"],
        "options": list(row["options"]),
        "answer": row["answer"],
        "worked": f"{reasoning}\nAnswer: {row['answer']}".strip(),
        "subject": row["category"],
    }


def read_gpqa(row: Row) -> Question:
    """Read GPQA: `Question`, `Correct Answer`, `Incorrect Answer 1` to 3, in an order of our own.

    The right answer comes first in every row, so the options are put in the order of their hashes
    with the question: the same on every machine, and in whatever order the rows come.
    """
    question, right = row["Question"].strip(), row["Correct Answer"].strip()
    texts = [right, *(row[f"Incorrect Answer {k}"].strip() for k in (1, 2, 3))]
    options = sorted(texts, key=lambda text: option_hash(question, text))
    letter = LETTERS[options.index(right)]
    found = {
        "question": question,
        "options": options,
        "answer": letter,
        "worked": f"{(row.get('Explanation') or '').strip()}\nAnswer: {letter}".strip(),
    }
    level, domain = row.get("Writer's Difficulty Estimate"), row.get("High-level domain")
    return found | ({"level": level} if level else {}) | ({"subject": domain} if domain else {})


def read_livecodebench(row: Row) -> Question:
    """Read LiveCodeBench: `question_content`, `starter_code`, `difficulty`; its tests stay."""
    starter = row.get("starter_code") or ""
    question = row["question_content"]
    if starter.strip():
        question += f"\n\nBegin with this code:\n\n{starter}"
    tests = {name: row.get(name) for name in ("public_test_cases", "private_test_cases")}
    return tests | {"question": question, "level": row["difficulty"], "worked": None}


def read_humaneval(row: Row) -> Question:
    """Read HumanEval: `prompt`, the head of a function; `test` and `entry_point` stay."""
    return {
        "question": f"Complete this function:\n\n{row['prompt']}",
        "worked": f"```python\n{row['prompt']}{row['canonical_solution']}```",
        "test": row["test"],
        "entry_point": row["entry_point"],
    }


def read_codeforces(row: Row) -> Question:
    """Read open-r1/codeforces: `description`, formats, `rating`; `official_tests` stay."""
    parts = [
        row["description"],
        titled("Input", row.get("input_format")),
        titled("Output", row.get("output_format")),
        *(
            f"Example input:\n{example['input']}\nExample output:\n{example['output']}"
            for example in row.get("examples") or []
        ),
    ]
    question = "\n\n".join(part for part in parts if part)
    found = {"question": question, "worked": None, "official_tests": row.get("official_tests")}
    return found | ({"level": row["rating"]} if row.get("rating") is not None else {})


def titled(title: str, text: str | None) -> str:
    """Return a text under a title; nothing where there is no text."""
    return f"{title}: {text}" if text else ""


def checked_index(index: Any, count: int) -> int:
    """Return the index of an option.

    Raises:
        ValueError: there is no such option, or no letter for it.
    """
    if not isinstance(index, int) or not 0 <= index < min(count, len(LETTERS)):
        raise ValueError(f"answer must be one of {count} options; got number {index!r}")
    return index


def option_hash(question: str, text: str) -> bytes:
    """Return what orders the options of a question."""
    return hashlib.sha256(f"{question}\0{text}".encode()).digest()

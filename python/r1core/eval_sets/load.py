"""Reading an evaluation set into questions that are ready to be sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from r1core.data.questions import Questions, templated
from r1core.data.sources import Table, read_rows
from r1core.data.spec import DataSpec
from r1core.data.split import prompt_hash
from r1core.eval_sets.prompts import Question, few_shot, zero_shot
from r1core.eval_sets.table import EvalSet, find_eval_set


@dataclass(frozen=True)
class LoadedEvalSet:
    """A set and its questions.

    Attributes:
        set: which; `set.rewards()` grades it.
        questions: their columns are prompt (with the directive, untemplated), question, answer and
            worked, and level, options, subject and tests where the set has them.
        source: the file, directory or hub name that was read.
        shots: worked examples before each question.
    """

    set: EvalSet
    questions: Questions
    source: str
    shots: int


def load_eval_set(
    name: str,
    *,
    path: str | Path | None = None,
    revision: str | None = None,
    questions: int | None = None,
    shots: int = 0,
    shots_path: str | Path | None = None,
    template: Literal["r1_zero", "chat", "none"] = "none",
    tokenizer: Any = None,
    max_prompt_tokens: int | None = None,
) -> LoadedEvalSet:
    """Read a set from the hub or from a local file in the hub's columns.

    Args:
        name: one of `EVAL_SETS`.
        path: a .jsonl, .json, .parquet or .csv file, or a directory of splits, in place of the hub.
        revision: commit or tag on the hub; None takes the set's own.
        questions: ask so many, >= 1, chosen by a hash: the same ones on every machine, and all
            those of a smaller number among them. None asks all.
        shots: worked examples put before each question; >= 0. The paper asks without any: they
            make R1 worse (section 5, limitations).
        shots_path: where they come from; None takes the set's own other split.
        template: what the policy sees around the question, as in a recipe.
        tokenizer: the policy's; needed by the template "chat" and to measure prompts.
        max_prompt_tokens: longest templated prompt kept, in tokens; None keeps all.

    Raises:
        ValueError: no such set or file, a row without the set's columns, a number out of range, or
            fewer worked examples than asked for.
    """
    eval_set = find_eval_set(name)
    check_counts(questions, shots)
    spec = DataSpec(
        path=str(path) if path is not None else eval_set.path,
        name=eval_set.config if path is None else None,
        split=eval_set.split,
        revision=(revision or eval_set.revision) if path is None else None,
        template=template,
    )
    rows = chosen(read_questions(eval_set, spec), questions)
    pool = read_shots(eval_set, spec, shots_path) if shots else []
    for row in rows:
        examples = pick_shots(eval_set, row, pool, shots)
        row["prompt"] = (
            few_shot(row, examples, eval_set.grader) if shots else zero_shot(row, eval_set.grader)
        )
    found = templated(rows, spec, tokenizer, max_prompt_tokens)
    return LoadedEvalSet(eval_set, found, spec.source, shots)


def check_counts(questions: int | None, shots: int) -> None:
    """Raise ValueError for a number that cannot be asked for."""
    if questions is not None and questions < 1:
        raise ValueError(f"load_eval_set: questions must be >= 1; got {questions}")
    if shots < 0:
        raise ValueError(f"load_eval_set: shots must be >= 0; got {shots}")


def read_questions(eval_set: EvalSet, spec: DataSpec) -> list[Question]:
    """Return a set's rows by the names of `Question`."""
    table = read_rows(spec)
    if not table.rows:
        raise ValueError(f"load_eval_set: the data must have rows; {spec.source} has none")
    return [read_row(eval_set, table, index) for index in range(len(table.rows))]


def read_row(eval_set: EvalSet, table: Table, index: int) -> Question:
    """Return one row; an error says where it stands."""
    row = table.rows[index]
    try:
        return eval_set.read(row)
    except KeyError as error:
        raise ValueError(
            f"load_eval_set: rows of {eval_set.name} must have a column {error}; "
            f"{table.where(index)} has {', '.join(row)}"
        ) from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"load_eval_set: {table.where(index)} does not read as {eval_set.name}: {error}"
        ) from error


def chosen(rows: list[Question], count: int | None) -> list[Question]:
    """Return so many rows by the hash of their questions, in the order they had."""
    if count is None or count >= len(rows):
        return rows
    order = sorted(range(len(rows)), key=lambda k: (prompt_hash(rows[k]["question"], 0), k))
    return [rows[k] for k in sorted(order[:count])]


def read_shots(
    eval_set: EvalSet, spec: DataSpec, shots_path: str | Path | None
) -> Sequence[Question]:
    """Return the rows that worked examples come from, in the order they are taken."""
    if shots_path is not None:
        spec = DataSpec(path=str(shots_path), split=eval_set.shot_split or "train")
    elif eval_set.shot_split is None or Path(spec.path or "").is_file():
        raise ValueError(
            f"load_eval_set: shots need shots_path, a file of worked examples; {spec.source} has "
            "no other split"
        )
    else:
        spec = spec.model_copy(update={"split": eval_set.shot_split})
    rows = [row for row in read_questions(eval_set, spec) if row["worked"] is not None]
    return sorted(rows, key=lambda row: prompt_hash(row["question"], 0))


def pick_shots(
    eval_set: EvalSet, row: Question, pool: Sequence[Question], shots: int
) -> list[Question]:
    """Return the first so many examples of the pool that are other questions of the subject."""
    fits = (
        x
        for x in pool
        if x["question"] != row["question"]
        and (not eval_set.by_subject or x["subject"] == row["subject"])
    )
    found = [x for _, x in zip(range(shots), fits, strict=False)]
    if len(found) < shots:
        where = f" of subject {row['subject']!r}" if eval_set.by_subject else ""
        raise ValueError(
            f"load_eval_set: shots must be at most the number of worked examples{where}, "
            f"{len(found)}; got {shots}"
        )
    return found

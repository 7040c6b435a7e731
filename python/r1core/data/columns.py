"""The recipe's names for a data set's columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1core.data.sources import Row, Table
from r1core.data.spec import REWARD_ARGUMENTS, DataSpec


def arrange_columns(table: Table, spec: DataSpec) -> list[Row]:
    """Return rows whose question is "prompt" and whose gold is "answer"; the rest is kept.

    A column that gets another name leaves its old one; a value inside a column ("meta.level") is
    copied, and the column stays whole. The old names of question and gold are not lost to rewards:
    see `own_names`.

    Raises:
        ValueError: a row without question or gold, a question that is neither text nor messages,
            or a name of `columns` that no row has.
    """
    required = {"prompt": spec.prompt} | ({"answer": spec.answer} if spec.answer else {})
    names = required | spec.columns
    found = set(required)
    arranged = []
    for index, row in enumerate(table.rows):
        values = {name: look_up(row, source) for name, source in names.items()}
        for name in required:
            if values[name] is None:
                raise missing_column(name, required[name], index, table)
        check_prompt(values["prompt"], index, table)
        found |= {name for name, value in values.items() if value is not None}
        sources = set(names.values())
        rest = {name: value for name, value in row.items() if name not in sources}
        arranged.append(rest | values)
    for name in names:
        if name not in found:
            raise missing_column(f"columns.{name}", names[name], 0, table)
    return arranged


def own_names(table: Table, rows: Sequence[Row], spec: DataSpec) -> dict[str, str]:
    """Return the data's own names of "prompt" and "answer" that have become free: old -> new.

    They are no part of the rows, whose fingerprint says whether two runs saw the same data.

    Args:
        table: as it was read.
        rows: as `arrange_columns` left them, at least one.
        spec: what was read.
    """
    taken = {name for row in rows for name in row} | set(REWARD_ARGUMENTS)
    renamed = {spec.prompt: "prompt", spec.answer: "answer"}
    return {old: new for old, new in renamed.items() if old in table.rows[0] and old not in taken}


def look_up(row: Row, name: str) -> Any:
    """Return a column's value, or one inside it by a dotted name ("a.b", "messages.0.content").

    A column whose own name has dots comes first. None where there is no such thing.
    """
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def missing_column(setting: str, column: str, index: int, table: Table) -> ValueError:
    """Return the error of a row that has nothing under a column's name."""
    if column in (names := list(column_names(table.rows[index]))):
        return ValueError(
            f"load_questions: {setting} must have a value in every row; got none in column "
            f"{column!r} in {table.where(index)}"
        )
    return ValueError(
        f"load_questions: {setting} must name a column of every row; got {column!r}, "
        f"{table.where(index)} has {', '.join(names)}"
    )


def column_names(row: Row, prefix: str = "") -> Iterator[str]:
    """Yield the names that `look_up` knows, those inside a column by their dotted names."""
    for name, value in row.items():
        if isinstance(value, Mapping) and value:
            yield from column_names(dict(value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def check_prompt(prompt: Any, index: int, table: Table) -> None:
    """Raise ValueError where a question is neither text nor messages."""
    if not isinstance(prompt, (str, list)) or not prompt:
        raise ValueError(
            f"load_questions: prompts must be text or messages; {table.where(index)} has {prompt!r}"
        )

"""Reading rows from files, directories and the Hugging Face hub."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

Row = dict[str, Any]
"""Column -> value."""


class Source(Protocol):
    """What is needed of a `DataSpec` whose `path` is set."""

    path: str | None
    split: str
    name: str | None
    limit: int | None


def read_rows(spec: Source) -> list[Row]:
    """Return the rows of a file, of a directory's split, or of a hub data set's split.

    Raises:
        ValueError: there is no such thing, or it cannot be read; one line that says what there is.
    """
    assert spec.path is not None
    path = Path(spec.path).expanduser()
    if path.is_dir():
        return read_file(split_file(path, spec.split))[: spec.limit]
    if path.is_file():
        return read_file(path)[: spec.limit]
    if looks_local(spec.path):
        raise ValueError(
            f"load_questions: path must exist; got {spec.path}, {describe_folder(path.parent)}"
        )
    return read_hub(spec)


def read_file(path: Path) -> list[Row]:
    """Return the rows of a file in the format that its extension says."""
    reader = READERS.get(path.suffix)
    if reader is None:
        raise ValueError(f"load_questions: path must end in {', '.join(READERS)}; got {path}")
    try:
        return reader(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"load_questions: cannot read {path}: {reason}") from error


def read_jsonl(path: Path) -> list[Row]:
    """Return one row per line; blank lines are skipped."""
    rows = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number}: {error}") from None
            rows.append(checked(row, f"line {number}"))
    return rows


def read_json(path: Path) -> list[Row]:
    """Return the objects of one list."""
    rows = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(rows, list):
        raise ValueError(f"it must hold a list of objects; got {type(rows).__name__}")
    return [checked(row, f"item {index}") for index, row in enumerate(rows)]


def checked(row: Any, where: str) -> Row:
    """Return the row if it has columns."""
    if not isinstance(row, dict):
        raise ValueError(f"{where} must be an object; got {type(row).__name__}")
    return row


def read_csv(path: Path) -> list[Row]:
    """Return one row per record under the header line; all values are text."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for index, row in enumerate(rows):
        if None in row:
            raise ValueError(f"record {index} has more fields than the header")
    return rows


def read_parquet(path: Path) -> list[Row]:
    """Return the rows of a Parquet file."""
    import pyarrow.parquet  # not needed, and slow to import, for other sources

    rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".parquet": read_parquet,
    ".csv": read_csv,
}


def split_file(folder: Path, split: str) -> Path:
    """Return a directory's file of that split."""
    for suffix in READERS:
        if (folder / f"{split}{suffix}").is_file():
            return folder / f"{split}{suffix}"
    raise ValueError(
        f"load_questions: split must name a file {split}.jsonl or .parquet in {folder}; "
        f"got {split!r}, {describe_folder(folder)}"
    )


def looks_local(path: str) -> bool:
    """Tell a path from a hub name, which is `name` or `owner/name`."""
    return path.startswith(("/", ".", "~")) or path.count("/") > 1 or Path(path).suffix in READERS


def describe_folder(folder: Path) -> str:
    """Say which data a folder holds, for a message."""
    if not folder.is_dir():
        return f"and there is no directory {folder}"
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix in READERS)
    return f"the directory has {', '.join(names[:8]) or 'no data files'}"


def read_hub(spec: Source) -> list[Row]:
    """Return the rows of a hub data set's split, downloaded or from the cache."""
    import datasets  # takes a second to import

    try:
        rows = datasets.load_dataset(spec.path, spec.name, split=spec.split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"load_questions: path must be a file, a directory or a data set on the hub; got "
            f"{spec.path!r}: {reason}"
        ) from error
    if spec.limit is not None:
        rows = rows.select(range(min(spec.limit, len(rows))))
    return list(rows)

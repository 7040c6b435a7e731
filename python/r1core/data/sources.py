"""Reading rows from files, directories and the Hugging Face hub."""

from __future__ import annotations

import csv
import glob
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Row = dict[str, Any]
"""Column -> value."""


class Source(Protocol):
    """What is needed of a `DataSpec` whose `path` is set."""

    path: str | None
    split: str
    name: str | None
    revision: str | None
    limit: int | None


@dataclass(frozen=True)
class Table:
    """Rows, and which file each came from.

    Attributes:
        rows: all rows, file after file.
        parts: (what messages call the file, its number of rows), in order.
    """

    rows: Sequence[Row]
    parts: Sequence[tuple[str, int]]

    def where(self, index: int) -> str:
        """Say where a row stands: `row 3 of train.jsonl`; rows of a file count from 0."""
        for name, count in self.parts:
            if index < count:
                return f"row {index} of {name}"
            index -= count
        raise IndexError(index)

    def first(self, limit: int | None) -> Table:
        """Return the first so many rows."""
        return Table(self.rows[:limit], self.parts)


def read_rows(spec: Source) -> Table:
    """Return the rows of a file, of files by a pattern, of a directory's or a hub data set's split.

    Raises:
        ValueError: there is no such thing, or it cannot be read; one line that says what there is.
    """
    assert spec.path is not None
    path = Path(spec.path).expanduser()
    if path.is_dir():
        return read_folder(path, spec).first(spec.limit)
    if path.is_file():
        return read_files([path]).first(spec.limit)
    if glob.has_magic(spec.path):
        return read_files(matching_files(path)).first(spec.limit)
    if looks_local(spec.path):
        raise ValueError(
            f"load_questions: path must exist; got {spec.path}, {describe_folder(path.parent)}"
        )
    return read_dataset(spec.path, spec)


def read_files(paths: Sequence[Path]) -> Table:
    """Return the rows of files, one after the other."""
    tables = [read_file(path) for path in paths]
    parts = [(str(path), len(rows)) for path, rows in zip(paths, tables, strict=True)]
    return Table([row for rows in tables for row in rows], parts)


def matching_files(pattern: Path) -> list[Path]:
    """Return the files that a pattern such as `data/part-*.jsonl` matches, by name."""
    paths = [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        folder = next(up for up in pattern.parents if not glob.has_magic(str(up)))
        raise ValueError(
            f"load_questions: path must match a file; got {pattern}, {describe_folder(folder)}"
        )
    return paths


def read_folder(folder: Path, spec: Source) -> Table:
    """Return a directory's split: the file of that name, or what `datasets` makes of the folder.

    That is `train-00000-of-00002.parquet`, `data/train/*.jsonl`, the configurations of a README, or
    a data set written by `save_to_disk`.
    """
    for suffix in READERS:
        if (folder / f"{spec.split}{suffix}").is_file():
            return read_files([folder / f"{spec.split}{suffix}"])
    try:
        return read_dataset(str(folder), spec)
    except ValueError as error:
        raise ValueError(
            f"load_questions: split must name a file {spec.split}.jsonl or .parquet in {folder}, "
            f"or one that datasets finds there ({error_line(error.__cause__ or error)}); got "
            f"{spec.split!r}, {describe_folder(folder)}"
        ) from error


def read_file(path: Path) -> list[Row]:
    """Return the rows of a file in the format that its extension says."""
    reader = READERS.get(path.suffix)
    if reader is None:
        raise ValueError(f"load_questions: path must end in {', '.join(READERS)}; got {path}")
    try:
        return reader(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"load_questions: cannot read {path}: {error_line(error)}") from error


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


def looks_local(path: str) -> bool:
    """Tell a path from a hub name, which is `name` or `owner/name`."""
    return path.startswith(("/", ".", "~")) or path.count("/") > 1 or Path(path).suffix in READERS


def describe_folder(folder: Path) -> str:
    """Say which data a folder holds, for a message."""
    if not folder.is_dir():
        return f"and there is no directory {folder}"
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix in READERS)
    return f"the directory has {', '.join(names[:8]) or 'no data files'}"


def read_dataset(path: str, spec: Source) -> Table:
    """Return the rows of a split that `datasets` reads: a hub name, or a directory."""
    import datasets  # takes a second to import

    saved = any((Path(path) / name).is_file() for name in ("state.json", "dataset_dict.json"))
    try:
        if saved:  # by save_to_disk
            found = datasets.load_from_disk(path)
            rows = found[spec.split] if isinstance(found, datasets.DatasetDict) else found
        else:
            rows = datasets.load_dataset(path, spec.name, split=spec.split, revision=spec.revision)
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        raise ValueError(
            f"load_questions: path must be a file, a directory or a data set on the hub; got "
            f"{path!r}: {error_line(error)}"
        ) from error
    if spec.limit is not None:
        rows = rows.select(range(min(spec.limit, len(rows))))
    return Table(list(rows), [(path, len(rows))])


def error_line(error: BaseException) -> str:
    """Return an error in one line; the choice that `datasets` offers on a second one belongs."""
    if error.__cause__ is not None and "generating the dataset" in str(error):
        return error_line(error.__cause__)  # what datasets says of any file it cannot read
    lines = str(error).splitlines() or [type(error).__name__]
    return " ".join(lines[: 2 if lines[1:] and lines[1].startswith("Please pick") else 1])

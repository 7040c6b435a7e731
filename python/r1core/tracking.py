"""What a run writes while it trains: `metrics.jsonl` and `completions/*.parquet`.

Both survive a kill at any moment: a metrics line goes to the system in one write, a completions
file appears under its name only when it is whole.

Shapes: P prompts, G rollouts per prompt, N = P * G.
"""

from __future__ import annotations

import json
import math
import numbers
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa
import pyarrow.parquet as pq

from r1core.types import RewardTable, Rollouts, StepStats

METRICS_FILE = "metrics.jsonl"
COMPLETIONS_FOLDER = "completions"

Rows = Sequence[Mapping[str, Any]]
Columns = Mapping[str, Sequence[Any]]


class Tracker(Protocol):
    """Anything that wants what a run writes; `trackers` has some. A subclass needs only `log`."""

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of one step."""

    def log_completions(self, stage: str, step: int, columns: Columns, kind: str) -> None:
        """Record a step's completions; kind is "completions" (training) or "eval"."""

    def close(self) -> None:
        """Record what is left: the run ends."""


class RunWriter:
    """Appends to the metrics and completions of a run directory; a context manager.

    Reopening a run continues it: half a line that a kill left behind is cut off first.

    Args:
        directory: the run directory; made if missing. An attribute, too.
        trackers: told all of it too, and closed at the end.
    """

    def __init__(self, directory: Path, trackers: Sequence[Tracker] = ()) -> None:
        self.directory = Path(directory)
        self._completions = self.directory / COMPLETIONS_FOLDER
        self._completions.mkdir(parents=True, exist_ok=True)
        self._trackers = trackers
        metrics = self.directory / METRICS_FILE
        cut_torn_line(metrics)
        self._file = open(metrics, "ab", buffering=0)  # one write per line, nothing held back

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the metrics file and the trackers; closing twice is harmless."""
        self._file.close()
        trackers, self._trackers = self._trackers, ()
        for tracker in trackers:
            tracker.close()

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line: a JSON object with `stage`, `step` and every metric.

        NaN and infinities, which JSON lacks, become null.

        Raises:
            ValueError: a metric is called `stage` or `step`.
        """
        if taken := {"stage", "step"} & set(metrics):
            raise ValueError(
                f"RunWriter.log: metrics must not name 'stage' or 'step'; got {sorted(taken)}"
            )
        values = {name: float(value) for name, value in metrics.items()}
        finite = {name: v if math.isfinite(v) else None for name, v in values.items()}
        line = json.dumps({"stage": stage, "step": step} | finite, allow_nan=False)
        self._file.write(line.encode() + b"\n")
        for tracker in self._trackers:
            tracker.log(stage, step, metrics)

    def log_completions(self, stage: str, stats: StepStats, columns: Rows | Columns) -> None:
        """Write a step's rollouts to `completions/<stage>_completions_<step>.parquet`, N rows.

        Columns: step, prompt (untemplated), completion, the dataset's own, one per reward and per
        extra column that a reward logged, reward (the weighted sum), advantage, length (in tokens)
        and finish_reason. Messages and other nested values are JSON text.

        Args:
            stage: the stage's name.
            stats: the step; without rollouts nothing is written.
            columns: the dataset's columns, as P rows or as lists of P values.

        Raises:
            ValueError: `columns` does not describe the step's P prompts.
        """
        if stats.rollouts is None:
            return
        table = completions_table(stats, stats.rollouts, columns)
        self._write_table(stage, "completions", stats.step, table)

    def log_evaluation(self, stage: str, step: int, rows: Rows) -> None:
        """Write an evaluation's rows to `completions/<stage>_eval_<step>.parquet`.

        Args:
            stage: the stage's name.
            step: optimizer steps done before the evaluation.
            rows: one per completion, all with the same keys: prompt, completion, answer, level,
                sample, the rewards, length.
        """
        table = {"step": [step] * len(rows)} | columns_of(rows)
        self._write_table(stage, "eval", step, table)

    def log_benchmark(self, stage: str, benchmark: str, rows: Rows) -> None:
        """Write a benchmark's rows to `completions/<stage>_benchmark_<benchmark>.parquet`.

        Args:
            stage: whose policy answered.
            benchmark: the benchmark's name.
            rows: as of `log_evaluation`.
        """
        self._replace(f"{stage}_benchmark_{benchmark}.parquet", columns_of(rows))

    def _write_table(self, stage: str, kind: str, step: int, columns: Columns) -> None:
        self._replace(f"{stage}_{kind}_{step:05d}.parquet", columns)
        for tracker in self._trackers:
            tracker.log_completions(stage, step, columns, kind)

    def _replace(self, name: str, columns: Columns) -> None:
        arrays = {column: to_array(values) for column, values in columns.items()}
        temporary = self._completions / f".{name}.{os.getpid()}"
        pq.write_table(pa.table(arrays), temporary)
        os.replace(temporary, self._completions / name)


def completions_table(stats: StepStats, rollouts: Rollouts, columns: Rows | Columns) -> Columns:
    """Return the columns, of N values each, that `RunWriter.log_completions` writes."""
    G, N = rollouts.group_size, rollouts.num_rows
    by_name = columns if isinstance(columns, Mapping) else columns_of(columns)
    table: dict[str, Sequence[Any]] = {
        "step": [stats.step] * N,
        "prompt": repeat(by_name.get("prompt", rollouts.prompts), G),
        "completion": rollouts.texts() if rollouts.tokenizer else rollouts.completion_ids(),
    }
    for name, values in by_name.items():
        if len(values) * G != N:
            raise ValueError(
                f"log_completions: columns must have {N // G} values, one per prompt; "
                f"got {len(values)} in {name!r}"
            )
        if name not in table:
            table[name] = repeat(values, G)
    if stats.rewards is not None:
        table |= reward_columns(stats.rewards)
    if stats.advantages_N is not None:
        table["advantage"] = stats.advantages_N.tolist()
    return table | {
        "length": rollouts.lengths_N.tolist(),
        "finish_reason": list(rollouts.finish_reasons),
    }


def reward_columns(rewards: RewardTable) -> dict[str, list[Any]]:
    """Return what the reward functions said of each row; null where one abstained."""
    scores = {name: scores_N.tolist() for name, scores_N in rewards.scores.items()}
    return {**rewards.extra, **scores, "reward": rewards.total_N.tolist()}


def columns_of(rows: Rows) -> dict[str, list[Any]]:
    """Turn rows into columns; a missing value is None."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def repeat(values: Sequence[Any], times: int) -> list[Any]:
    """Repeat each value in place: P values become N = P * times."""
    return [value for value in values for _ in range(times)]


def to_array(values: Sequence[Any]) -> pa.Array:
    """Return an Arrow array of any Python values; whatever is no plain column becomes text.

    NaN is null. A column of mixed kinds, which Arrow refuses, is text throughout.
    """
    cells = [to_cell(value) for value in values]
    kinds = {type(cell) for cell in cells if cell is not None}
    if len(kinds) > 1 and kinds != {int, float}:
        cells = [
            cell if cell is None or isinstance(cell, str) else json.dumps(cell) for cell in cells
        ]
    elif kinds == {int, float}:
        cells = [None if cell is None else float(cell) for cell in cells]
    elif kinds == {int} and any(cell is not None and cell.bit_length() > 63 for cell in cells):
        cells = [None if cell is None else str(cell) for cell in cells]
    return pa.array(cells)


def to_cell(value: Any) -> Any:
    """Return a value as bool, int, float, valid Unicode text or None."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return None if math.isnan(value) else float(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates, legal in Python


def cut_torn_line(path: Path) -> None:
    """Remove what follows the last newline of a file, if there is such a file."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def rewind_metrics(directory: Path, finished: Sequence[str], under_way: Mapping[str, int]) -> None:
    """Drop what a run wrote after the checkpoint that it goes on from; it will be written again.

    Args:
        directory: the run directory.
        finished: stages whose lines stay.
        under_way: stage -> its last step whose lines stay.
    """
    path = directory / METRICS_FILE
    if not path.exists():
        return
    cut_torn_line(path)
    kept = []
    for line in path.read_bytes().splitlines(keepends=True):
        record = json.loads(line)
        stage = record["stage"]
        if stage in finished or record["step"] <= under_way.get(stage, -1):
            kept.append(line)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(b"".join(kept))
    os.replace(temporary, path)


def read_metrics(directory: Path | str) -> list[dict[str, Any]]:
    """Read `metrics.jsonl` of a run directory, in the order written; null reads as NaN.

    A run that was killed may end in half a line, which is left out, as if never written. A run
    directory without the file has no metrics.

    Raises:
        ValueError: a line before the last is not a JSON object with `stage` and `step`.
    """
    path = Path(directory) / METRICS_FILE
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    records = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is torn
        try:
            record = json.loads(line)
            records.append({"stage": record["stage"], "step": record["step"]} | with_nan(record))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f"read_metrics: line {number} of {path} must be a JSON object with stage and "
                f"step; got {line[:80]!r}"
            ) from None
    return records


def with_nan(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with NaN for null."""
    return {name: math.nan if value is None else value for name, value in record.items()}


_TABLE_NAME = re.compile(r"(?P<stage>.+)_(?P<kind>completions|eval)_(?P<step>\d+)\.parquet")


def list_tables(directory: Path | str, kind: str) -> dict[str, dict[int, Path]]:
    """Return the completions files of a run: stage -> step -> path, steps ascending.

    Args:
        directory: the run directory.
        kind: "completions" (training) or "eval".
    """
    found: dict[str, dict[int, Path]] = {}
    for path in sorted((Path(directory) / COMPLETIONS_FOLDER).glob("*.parquet")):
        match = _TABLE_NAME.fullmatch(path.name)
        if match and match["kind"] == kind:
            found.setdefault(match["stage"], {})[int(match["step"])] = path
    return {stage: dict(sorted(steps.items())) for stage, steps in found.items()}


def benchmark_table(directory: Path | str, stage: str, benchmark: str) -> Path:
    """Return where a benchmark's rows are, if the stage's policy was put to it."""
    return Path(directory) / COMPLETIONS_FOLDER / f"{stage}_benchmark_{benchmark}.parquet"


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read a completions file as rows."""
    rows: list[dict[str, Any]] = pq.read_table(path, memory_map=False).to_pylist()
    return rows

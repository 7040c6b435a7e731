"""Sampling, grading and keeping an evaluation: `eval.json`, `rows.parquet`, `manifest.json`.

The manifest holds whatever two numbers must share to be compared: the questions' fingerprint, the
template, the grader, the sampling settings, the seed and the versions.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r1core.evaluation.questions import AskedQuestions
from r1core.manifest import hardware, versions, write_atomic
from r1core.policy import Policy, describe
from r1core.stages.evaluate import Evaluation, evaluate, summarize
from r1core.tracking import columns_of, read_table, to_array
from r1core.types import SamplingParams

GRADER_VERSION = 1  # raise it when a change to this package changes a verdict
ROWS_AT_ONCE = 1024  # completions whose tensors are in memory together
METRICS_FILE, ROWS_FILE, MANIFEST_FILE = "eval.json", "rows.parquet", "manifest.json"


@dataclass(frozen=True)
class Result:
    """An evaluation as it is kept.

    Attributes:
        metrics: `eval/...` -> float; NaN where nothing was graded.
        rows: one per completion: question, prompt, completion, sample, answer, level, the rewards,
            accuracy, found, length.
        manifest: what was measured, how, and on what.
    """

    metrics: dict[str, float]
    rows: list[dict[str, Any]]
    manifest: dict[str, Any]


def evaluate_questions(
    policy: Policy,
    asked: AskedQuestions,
    sampling: SamplingParams,
    *,
    model: str = "",
    on_progress: Callable[..., None] | None = None,
    check: Callable[[], object] | None = None,
) -> Result:
    """Sample k answers to each question and grade them.

    A completion depends on the seed and on the question's place among the questions alone.

    Args:
        policy: not changed.
        asked: the questions and what grades them.
        sampling: n is k (paper: temperature 0.6, top-p 0.95, 32,768 tokens).
        model: what the manifest calls the policy.
        on_progress: called with (completions finished, tokens=...).
        check: called after every part of about a thousand completions; what it raises ends the
            evaluation.

    Raises:
        ValueError: no question fits the context.
    """
    check_some(asked, sampling.max_new_tokens)
    rows: list[dict[str, Any]] = []
    size, count = max(1, ROWS_AT_ONCE // sampling.n), len(asked.questions)
    for start in range(0, count, size):
        part = evaluate_part(
            policy, asked, sampling, range(start, min(start + size, count)), len(rows), on_progress
        )
        rows += part.rows
        if check is not None:
            check()
    names = [spec.name for spec in asked.rewards]
    manifest = describe_evaluation(policy, asked, sampling, model)
    return Result(summarize(rows, names, sampling.n), rows, manifest)


def check_some(asked: AskedQuestions, max_new_tokens: int) -> None:
    """Raise ValueError where no question is left to ask."""
    if not len(asked.questions):
        raise ValueError(
            f"eval: questions must fit the model's context with max_new_tokens = "
            f"{max_new_tokens}; all {asked.questions.dropped} of {asked.source} are longer"
        )


def evaluate_part(
    policy: Policy,
    asked: AskedQuestions,
    sampling: SamplingParams,
    index: Sequence[int],
    done: int,
    on_progress: Callable[..., None] | None,
) -> Evaluation:
    """Evaluate some of the questions; their rows say which question they answer."""
    prompts, columns = asked.questions.batch(index)

    def on_step(tokens: int, finished: int) -> None:
        if on_progress is not None:
            on_progress(done + finished, tokens=tokens)

    found = evaluate(
        policy, prompts, columns, asked.rewards, sampling, on_step=on_step, prompt_uids=index
    )
    questions = columns.get("question", columns["prompt"])
    rows = [{"question": questions[n // sampling.n]} | row for n, row in enumerate(found.rows)]
    return Evaluation(found.metrics, rows)


def describe_evaluation(
    policy: Policy, asked: AskedQuestions, sampling: SamplingParams, model: str
) -> dict[str, Any]:
    """Return what `manifest.json` holds."""
    return {
        "model": {"name": model, "chat_template": chat_template_hash(policy)} | describe(policy),
        "questions": {
            "set": asked.name,
            "source": asked.source,
            "count": len(asked.questions),
            "dropped": asked.questions.dropped,
            "fingerprint": asked.questions.fingerprint,
        },
        "template": {"name": asked.template, "shots": asked.shots},
        "grader": {"rewards": [spec.name for spec in asked.rewards], "version": GRADER_VERSION},
        "sampling": dataclasses.asdict(sampling),
        "versions": versions(),
        "hardware": hardware(),
    }


def chat_template_hash(policy: Policy) -> str | None:
    """Return the first digits of the SHA-256 of the tokenizer's chat template, if it has one."""
    template = getattr(policy.tokenizer, "chat_template", None)
    return hashlib.sha256(str(template).encode()).hexdigest()[:16] if template else None


def check_free(directory: Path, *, overwrite: bool) -> None:
    """Raise ValueError where a result cannot be written to a directory."""
    if directory.is_file():
        raise ValueError(f"eval: output must be a directory; got the file {directory}")
    kept = {METRICS_FILE, ROWS_FILE, MANIFEST_FILE}
    found = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    if found - kept or (found and not overwrite):
        raise ValueError(
            f"eval: output must be a new directory; {directory} is not empty"
            + ("" if found - kept else ": pass --overwrite to replace that evaluation")
        )


def write_result(directory: Path, result: Result) -> None:
    """Write an evaluation into a directory, made if missing; the metrics come last."""
    directory.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: to_array(v) for name, v in columns_of(result.rows).items()})
    temporary = directory / f".{ROWS_FILE}.{os.getpid()}"
    pq.write_table(table, temporary)
    os.replace(temporary, directory / ROWS_FILE)
    write_atomic(directory / MANIFEST_FILE, json.dumps(result.manifest, indent=2) + "\n")
    finite = {k: v if math.isfinite(v) else None for k, v in result.metrics.items()}
    write_atomic(directory / METRICS_FILE, json.dumps(finite, indent=2) + "\n")


def read_result(directory: Path | str) -> Result:
    """Read what `write_result` wrote.

    Raises:
        ValueError: the directory holds no evaluation.
    """
    directory = Path(directory)
    try:
        metrics = json.loads((directory / METRICS_FILE).read_text(encoding="utf-8"))
        manifest = json.loads((directory / MANIFEST_FILE).read_text(encoding="utf-8"))
        rows = read_table(directory / ROWS_FILE)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"eval: {directory} must hold an evaluation, {METRICS_FILE}, {ROWS_FILE} and "
            f"{MANIFEST_FILE}: {error}"
        ) from error
    return Result({k: math.nan if v is None else v for k, v in metrics.items()}, rows, manifest)

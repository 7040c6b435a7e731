"""Finds out what is wrong with a run, while it trains (`Watch`) or afterwards (`diagnose_run`).

    watch = Watch()
    for stats in reasoning_rl(...):
        stats.metrics |= measure(stats)
        print_findings("zero", watch.see(stats))

The rules are in `rules_policy` and `rules_rewards`, the thresholds with their reasons in
`findings`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from r1core.findings import Finding, Record, Rule, Severity
from r1core.loss_scale import loss_scale_finding
from r1core.manifest import write_atomic
from r1core.recipe import RecipeError, load_recipe
from r1core.recipe_stages import RLStage
from r1core.repetition import looped_ratio, words
from r1core.rules_policy import (
    NOT_FINITE,
    clipped,
    collapsed,
    entropy_collapse,
    looping,
    not_finite,
    sampler_apart,
)
from r1core.rules_rewards import (
    abstaining,
    dead_reward,
    format_absent,
    wasteful_draws,
    zero_variance,
)
from r1core.tracking import list_tables, read_metrics, read_table
from r1core.types import StepStats

__all__ = ["Finding", "Severity", "Watch", "diagnose_run", "measure", "note_failure"]

RULES: tuple[Rule, ...] = (
    not_finite,
    collapsed,
    zero_variance,
    format_absent,
    clipped,
    sampler_apart,
    entropy_collapse,
    looping,
    dead_reward,
    abstaining,
    wasteful_draws,
)

EXPLAINS = {
    "collapsed": ("zero_variance", "format_absent", "clipped", "looping", "entropy_collapse"),
    "zero_variance/too_hard": ("dead_reward",),
    "format_absent": ("dead_reward",),
}
"""Findings of which others are but a consequence: these are left out."""

LOOPED = "completions/looped_ratio"

TABLES_READ = 24
"""Completions files of a stage searched for loops, evenly spread: a run may have thousands."""

CHARACTERS_SHOWN = 60

FAILURE_FILE = "failure.json"


class Watch:
    """Looks at each step of one stage as it comes; each finding is given once.

    Args:
        records: what an earlier part of the stage logged; its findings were given then.
        rules: what is asked of them.
    """

    def __init__(self, records: Iterable[Record] = (), rules: Sequence[Rule] = RULES) -> None:
        self._rules = rules
        self._history: list[Record] = []
        self._given: set[str] = set()
        for record in records:
            self.see_record(record)

    def see(self, stats: StepStats) -> list[Finding]:
        """Return what this step shows for the first time; it is measured if it was not."""
        measured = LOOPED in stats.metrics
        extra = {} if measured else measure(stats)
        return self.see_record({"step": stats.step} | extra | stats.metrics)

    def see_record(self, record: Record) -> list[Finding]:
        """Return what a logged record shows for the first time; evaluations show nothing."""
        if is_evaluation(record):
            return []
        self._history.append(record)
        new = [f for f in self.standing() if f.name not in self._given]
        self._given |= {finding.name for finding in new}
        return new

    def standing(self) -> list[Finding]:
        """Return what the newest record shows, given before or not; causes, not consequences."""
        if not self._history:
            return []
        found = [finding for rule in self._rules for finding in rule(self._history)]
        explained = tuple(
            consequence
            for cause, consequences in EXPLAINS.items()
            if any(finding.name.startswith(cause) for finding in found)
            for consequence in consequences
        )
        return [finding for finding in found if not finding.name.startswith(explained)]


def is_evaluation(record: Record) -> bool:
    """Tell an evaluation's line from a training step's."""
    return any(name.startswith("eval/") for name in record)


def measure(stats: StepStats) -> dict[str, float]:
    """Return what the rules want to know of a step beyond its metrics; worth logging too.

    `completions/looped_ratio`: share of completions that end in a loop, from a sample of them;
    `rewards/<fn>/abstained`: share of completions it did not grade, only where there are any.
    Empty without rollouts.
    """
    if stats.rollouts is None:
        return {}
    rows = zip(stats.rollouts.completion_ids(), stats.rollouts.finish_reasons, strict=True)
    bodies = [ids[:-1] if reason == "stop" else ids for ids, reason in rows]
    metrics = {LOOPED: looped_ratio(bodies)}
    for name, scores_N in stats.rewards.scores.items() if stats.rewards else ():
        if len(scores_N) and bool(scores_N.isnan().any()):
            metrics[f"rewards/{name}/abstained"] = float(scores_N.isnan().double().mean())
    return metrics


def diagnose_run(directory: Path | str) -> list[tuple[str, Finding]]:
    """Find what is wrong with a run, finished, stopped or still going.

    A trouble that was over by the stage's last step is a note, except for numbers that were not
    finite. The recipe's losses are tried out on a small random model: see `loss_scale`.

    Args:
        directory: the run directory.

    Returns:
        (stage, finding) pairs, in the order in which they showed.

    Raises:
        ValueError: the directory has no metrics, or a corrupt line of them.
    """
    records = read_metrics(directory)
    if not records:
        raise ValueError(f"diagnose_run: {directory} must be a run directory with metrics")
    findings = loss_findings(Path(directory)) + failure_findings(Path(directory), records)
    for stage in dict.fromkeys(record["stage"] for record in records):
        tables = list_tables(directory, "completions").get(stage, {})
        own = [record for record in records if record["stage"] == stage]
        watch = Watch()
        found = [f for record in with_loops(own, tables) for f in watch.see_record(record)]
        still = {finding.name for finding in watch.standing()} | {NOT_FINITE}
        last = own[-1]["step"]
        findings += [(stage, f if f.name in still else passed(f, last)) for f in found]
        findings = [(s, with_example(f, tables) if s == stage else f) for s, f in findings]
    return findings


def passed(finding: Finding, last: int) -> Finding:
    """Return the finding as one that was over by the last step."""
    return replace(
        finding, severity="note", cause=f"{finding.cause} (over by step {last}, the last)"
    )


def with_loops(records: Iterable[Record], tables: Mapping[int, Path]) -> Iterable[Record]:
    """Add `completions/looped_ratio` to records without, from their completions on disk."""
    steps = list(tables)
    chosen = set(steps[:: max(1, -(-len(steps) // TABLES_READ))]) | set(steps[-3:])
    for record in records:
        known = LOOPED in record or is_evaluation(record)
        if known or record["step"] not in chosen:
            yield record
        else:
            rows = read_table(tables[record["step"]])
            texts = [words(str(row["completion"])) for row in rows]
            yield {**record, LOOPED: looped_ratio(texts)}


def with_example(finding: Finding, tables: Mapping[int, Path]) -> Finding:
    """Show how a completion looks, where the finding is about how completions look."""
    kinds = ("format_absent", "zero_variance/too_hard", "dead_reward", "looping")
    if not finding.name.startswith(kinds) or finding.step not in tables:
        return finding
    rows: list[dict[str, Any]] = read_table(tables[finding.step])
    if not rows:
        return finding
    text = " ".join(str(rows[0]["completion"]).split())
    if len(text) > CHARACTERS_SHOWN:
        half = CHARACTERS_SHOWN // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return replace(finding, cause=f"{finding.cause}; a completion of step {finding.step}: {text!r}")


def loss_findings(directory: Path) -> list[tuple[str, Finding]]:
    """Try out the loss of each stage of the run's recipe, as far as it can be read."""
    try:
        stages = load_recipe(directory / "recipe.toml").stage
    except (RecipeError, OSError):
        return []
    found = [
        (stage.name, loss_scale_finding(stage.loss_at(1)))
        for stage in stages
        if isinstance(stage, RLStage)
    ]
    return [(name, finding) for name, finding in found if finding is not None]


def note_failure(directory: Path, stage: str, step: int, error: Exception) -> None:
    """Keep what a step failed of for `diagnose_run`; the step itself logged nothing.

    Args:
        directory: the run directory.
        stage: the stage's name.
        step: the step that failed.
        error: what it raised.
    """
    failure = {"stage": stage, "step": step, "kind": type(error).__name__, "error": str(error)}
    with suppress(OSError):  # a full disk may be the failure, which must not be hidden by another
        write_atomic(directory / FAILURE_FILE, json.dumps(failure))


def failure_findings(directory: Path, records: Sequence[Record]) -> list[tuple[str, Finding]]:
    """Return what the run's last failure says, unless the run has gone beyond it."""
    path = directory / FAILURE_FILE
    if not path.exists():
        return []
    failure = json.loads(path.read_text(encoding="utf-8"))
    stage, step = failure["stage"], failure["step"]
    last = records[-1]
    known = {record["stage"] for record in records}
    if stage in known and (last["stage"] != stage or last["step"] >= step):
        return []
    cure = "mend what the message names; the same command goes on from the last checkpoint"
    if failure["kind"] == "FloatingPointError":
        cure = (
            "lower optimizer.lr, or train in float32; if weights are broken already, go on from a "
            "checkpoint before: remove the later ones"
        )
    cause = f"step {step} failed, {failure['kind']}: {failure['error']}"
    return [(stage, Finding(step, "stopped", "error", cause, cure))]

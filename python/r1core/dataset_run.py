"""A stage that makes a data set, under way: sampled round by round, kept in a journal.

The journal has a line per round, written at once; so a run that was stopped goes on after the last
whole one, and the data set comes out the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich
from rich.table import Table
from rich.text import Text

from r1core.checkpoint import whole_directory
from r1core.data import Questions
from r1core.interrupt import Interrupt
from r1core.policy import Policy
from r1core.progress import progress_callback
from r1core.recipe import RecipeError
from r1core.recipe_sections import SourceSection
from r1core.recipe_stages import ColdStartStage, DatasetStage, PreferenceStage
from r1core.reward_sections import resolve_rewards
from r1core.stage_data import DATA_FILE
from r1core.stage_run import stage_output
from r1core.stages.cold_start import cold_start
from r1core.stages.dataset import DatasetStats, Row
from r1core.stages.judge import load_judge, load_label
from r1core.stages.preferences import balanced, preference_pairs, safety_labels
from r1core.stages.questions import Batch
from r1core.stages.rejection_sampling import mixed, rejection_sampling
from r1core.stages.rewrite import load_rewriter
from r1core.tracking import RunWriter, cut_torn_line

Rounds = Callable[[Iterator[Batch], SourceSection], Iterator[DatasetStats]]


class DatasetRun:
    """A `cold_start`, `rejection_sampling` or `preferences` stage.

    Args:
        stage: its table of the recipe.
        seed: of the sampling.
        questions: of each source.
        policy: what is sampled.
        writer: of the run.
        interrupt: asked after every round.
    """

    def __init__(
        self,
        stage: DatasetStage,
        seed: int,
        questions: dict[str, Questions],
        policy: Policy,
        writer: RunWriter,
        interrupt: Interrupt,
    ) -> None:
        self.stage, self.seed, self.questions, self.policy = stage, seed, questions, policy
        self.writer, self.interrupt = writer, interrupt
        self.journal = journal_path(writer.directory, stage)
        self.step, self.num_tokens = 0, 0.0  # rounds and sampled tokens so far
        sampling = replace(stage.sampling, seed=seed)
        self.config: Any = stage.model_copy(update={"sampling": sampling})
        self.rounds = self.rounds_of_kind()

    def rounds_of_kind(self) -> Rounds:
        """Return the generator of the stage's kind, on batches of a source."""
        stage, policy, config, directory = (
            self.stage,
            self.policy,
            self.config,
            self.writer.directory,
        )
        if isinstance(stage, PreferenceStage):
            if stage.form == "pairs":
                judge = load_judge(stage.judge)
                return lambda batches, source: preference_pairs(policy, batches, judge, config)
            label = load_label(stage.judge)
            return lambda batches, source: safety_labels(policy, batches, label, config)
        if isinstance(stage, ColdStartStage):
            rewrite = load_rewriter(stage.rewriter)
            return lambda batches, source: cold_start(
                policy, batches, resolve_rewards(source.rewards, directory), config, rewrite
            )
        return lambda batches, source: rejection_sampling(
            policy, batches, resolve_rewards(source.rewards, directory), config
        )

    def run(self) -> None:
        """Sample every source and write the data set."""
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_line(self.journal)
        done = [json.loads(line) for line in read_lines(self.journal)]
        parts: dict[str, list[Row]] = {}
        self.step = len(done)
        self.num_tokens = sum(line["num_tokens"] for line in done)
        first_uid = 0
        for source in self.stage.sources:
            earlier = [line for line in done if line["source"] == source.name]
            parts[source.name] = self.sample(source, earlier, first_uid)
            first_uid += len(self.questions[source.name])
        rows = self.joined(parts)
        if not rows:
            raise RecipeError(
                f"stage {self.stage.name!r}: no completion was kept; see its rejected/* metrics"
            )
        with whole_directory(stage_output(self.writer.directory, self.stage)) as output:
            lines = (json.dumps(row, ensure_ascii=False) for row in rows)
            (output / DATA_FILE).write_text("".join(f"{x}\n" for x in lines), "utf-8")
        print_rows(self.stage.name, rows)

    def sample(
        self, source: SourceSection, earlier: list[dict[str, Any]], first_uid: int
    ) -> list[Row]:
        """Sample what is left of a source; return its rows, those sampled earlier first."""
        name, questions = self.stage.name, self.questions[source.name]
        rows: list[Row] = [row for line in earlier for row in line["rows"]]
        size, count = self.config.questions_per_step, len(questions)
        starts = range(len(earlier) * size, count, size)
        quota = source.quota or count * max(1, self.config.sampling.n) ** 2
        if len(rows) >= quota:
            return rows[:quota]

        def batches() -> Iterator[Batch]:
            for start in starts:
                index = range(start, min(start + size, count))
                prompts, columns = questions.batch(index)
                yield Batch(prompts=prompts, columns=columns, uids=[first_uid + k for k in index])

        with (
            progress_callback(f"{name}: sampling {source.name}", count) as on_progress,
            open(self.journal, "ab", buffering=0) as journal,
        ):
            for stats in self.rounds(batches(), source):
                self.step += 1
                tokens = stats.metrics["num_tokens"]
                self.num_tokens += tokens
                stats.metrics["num_tokens"] = self.num_tokens  # since the stage began, as TRL
                line = {"source": source.name, "rows": stats.rows, "num_tokens": tokens}
                journal.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
                os.fsync(journal.fileno())
                self.writer.log(name, self.step, stats.metrics)
                if stats.rollouts is not None:
                    logged = replace(stats, step=self.step)
                    self.writer.log_completions(name, logged, stats.columns)
                rows += stats.rows
                on_progress(min(starts.start + stats.step * size, count), kept=len(rows))
                self.interrupt.check()
                if len(rows) >= quota:
                    break
        return rows[:quota]

    def joined(self, parts: dict[str, list[Row]]) -> list[Row]:
        """Return the data set: the sources in proportion; of pairs, lengths balanced."""
        if isinstance(self.stage, PreferenceStage) and self.stage.form == "pairs":
            parts = {name: balanced(rows) for name, rows in parts.items()}
        weights = {source.name: source.weight for source in self.stage.sources}
        return mixed(parts, weights, self.seed)


def journal_path(directory: Path, stage: DatasetStage) -> Path:
    """Return where the rounds of a stage are kept."""
    return directory / "datasets" / f"{stage.name}.jsonl"


def rounds_done(directory: Path, stage: DatasetStage) -> int:
    """Return how many rounds of a stage are kept."""
    journal = journal_path(directory, stage)
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def read_lines(path: Path) -> list[str]:
    """Return the lines of a journal; none if there is none yet."""
    return path.read_text("utf-8").splitlines() if path.is_file() else []


def print_rows(name: str, rows: list[Row], shown: int = 3) -> None:
    """Print how many rows there are by source, and the first few."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["source"]] = counts.get(row["source"], 0) + 1
    listed = ", ".join(f"{count:,} {source}" for source, count in counts.items())
    rich.print(Text(f"{name}: {len(rows):,} rows ({listed})"))
    table = Table(box=None, show_header=False)
    for row in rows[:shown]:
        table.add_row(Text(str(row["prompt"])), Text(str(row.get("chosen", row.get("completion")))))
    rich.print(table)

"""One stage of a run: trained, evaluated, logged and saved, from the start or from a checkpoint.

The order within a step is fixed: metrics, completions, evaluation, checkpoint. So whatever moment
a run is killed at, the last checkpoint and the lines up to its step are all that a resumed run
needs to go on bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich
from rich.text import Text

from r1core.checkpoint import Checkpoint, CheckpointError, Checkpoints, load_state, whole_directory
from r1core.console import (
    print_completions,
    print_evaluation,
    print_findings,
    print_summary,
)
from r1core.data import prompt_sampler
from r1core.diagnosis import Watch, measure, note_failure
from r1core.interrupt import Interrupt
from r1core.lora import has_lora, merge_lora
from r1core.policy import Policy
from r1core.progress import StageProgress, progress_callback
from r1core.recipe import ReasoningRLStage
from r1core.stage_setup import StageSetup
from r1core.stages.evaluate import evaluate
from r1core.stages.reasoning_rl import Batch, reasoning_rl
from r1core.stages.rl_state import RLState, load_random_state, random_state, seed_generators
from r1core.tracking import RunWriter, list_tables, read_metrics, read_table
from r1core.types import SamplingParams, StepStats

EVALUATION_SEED = 1 << 32  # added to the recipe's seed: evaluation never reuses training's numbers


class StageRun:
    """A stage under way.

    Args:
        setup: its data, rewards and settings.
        policy: what it trains: where it starts, or a checkpoint's.
        writer: of the run.
        interrupt: asked after every step.
    """

    def __init__(
        self, setup: StageSetup, policy: Policy, writer: RunWriter, interrupt: Interrupt
    ) -> None:
        self.setup, self.stage, self.policy = setup, setup.stage, policy
        self.writer, self.interrupt = writer, interrupt
        sampling = replace(self.stage.sampling, seed=setup.seed)
        self.config = self.stage.model_copy(update={"sampling": sampling})
        self.rl = RLState(policy, self.config)
        self.sampler = prompt_sampler(setup.questions.rows, self.stage.data, 1, setup.seed)
        self.checkpoints = stage_checkpoints(writer.directory, self.stage)
        logged = read_metrics(writer.directory)
        self.watch = Watch(x for x in logged if x["stage"] == self.stage.name)
        self.note()

    def run(self, checkpoint: Checkpoint | None = None) -> None:
        """Train the policy, evaluating before, during and after, and save it.

        Args:
            checkpoint: where to go on from; None to begin.
        """
        if checkpoint is None:
            self.begin()
        else:
            self.load_state_dict(load_state(checkpoint.path))
            rich.print(f"Going on with {self.stage.name} after step {self.rl.step}")
            if self.rl.step not in (line["step"] for line in self.evaluations()):
                self.evaluate_if_due(self.rl.step)  # it was stopped in the middle
        try:
            self.interrupt.check()
            self.train()
        except CheckpointError:
            raise
        except Exception as error:
            note_failure(self.writer.directory, self.stage.name, self.rl.step + 1, error)
            self.rescue()
            raise
        with whole_directory(stage_output(self.writer.directory, self.stage)) as output:
            merged = merge_lora(self.policy) if has_lora(self.policy) else self.policy
            merged.save_pretrained(output)
        self.show_completions(self.stage.steps, f"after {self.stage.steps} steps")
        print_summary(self.evaluations()[0], self.evaluations()[-1])

    def begin(self) -> None:
        """Evaluate the policy that the stage starts from."""
        seed_generators(self.setup.seed)  # for what draws from them: user rewards, dropout
        metrics = self.evaluate(0)
        self.show_completions(0, "before training")
        print_evaluation(f"{self.stage.name}, step 0", metrics)
        self.note()

    def train(self) -> None:
        """Take the steps that are left."""
        stage, batches = self.stage, self.batches()
        with StageProgress(stage.name, stage.steps) as progress:
            for stats in reasoning_rl(
                self.policy, batches, self.setup.rewards, self.config, self.rl
            ):
                self.note()
                evaluation = self.record(stats)
                progress.update(stats.step, stats.metrics | evaluation)
                self.note()
                if stats.step == stage.steps or stats.step % stage.checkpoint.every == 0:
                    self.save(evaluation.get("eval/pass@1"))
                if stats.step < stage.steps:
                    self.stop_if_asked()

    def record(self, stats: StepStats) -> dict[str, float]:
        """Log a step and evaluate where that is due; return the evaluation's metrics."""
        stats.metrics |= measure(stats)
        self.writer.log(self.stage.name, stats.step, stats.metrics)
        self.writer.log_completions(self.stage.name, stats, stats.columns)
        print_findings(self.stage.name, self.watch.see(stats))
        return self.evaluate_if_due(stats.step)

    def note(self) -> None:
        """Remember where data and random numbers stand: what a failed step takes is given back."""
        self._noted = {"questions": self.sampler.state_dict(), "random": random_state()}

    def save(self, score: float | None = None) -> None:
        """Write a checkpoint of the last finished step."""
        state = self._noted | {"stage": self.rl.state_dict()}
        self.checkpoints.save(self.rl.step, self.policy, state, score)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.rl.load_state_dict(state["stage"])
        self.sampler.load_state_dict(state["questions"])
        load_random_state(state["random"])
        self.note()

    def stop_if_asked(self) -> None:
        """Stop on Ctrl-C with everything saved."""
        try:
            self.interrupt.check()
        except BaseException:
            self.rescue()
            raise

    def rescue(self) -> None:
        """Save where the last finished step left the stage, if nothing did, and say so.

        What cannot be saved is said: it must not hide why the run stops.
        """
        found = self.checkpoints.found()
        if self.rl.step > (found[-1].step if found else 0):
            try:
                self.save()
            except CheckpointError as error:
                rich.print(Text(str(error), "yellow"))
                return
        done = f"Stopped after step {self.rl.step} of {self.stage.steps} of {self.stage.name}"
        rich.print(f"{done}; the same command goes on from there")

    def batches(self) -> Iterator[Batch]:
        """Yield questions, one at a time: the sampler's state says exactly which were used."""
        while True:
            indices, uids = self.sampler.next()
            prompts, columns = self.setup.questions.batch(indices)
            yield Batch(prompts=prompts, columns=columns, uids=uids)

    def evaluate_if_due(self, step: int) -> dict[str, float]:
        """Evaluate after a step where that is due; return the metrics, or none."""
        due = step % self.stage.evaluation.every == 0 or step == self.stage.steps
        return self.evaluate(step) if due else {}

    def evaluate(self, step: int) -> dict[str, float]:
        """Evaluate on the held-out questions, log the result and return its metrics."""
        name, held_out = self.stage.name, self.setup.held_out
        count = min(self.stage.evaluation.questions, len(held_out))
        prompts, columns = held_out.batch(range(count))
        sampling = evaluation_sampling(self.stage, step, self.setup.seed)
        with progress_callback(f"{name}: evaluating", count * sampling.n) as on_progress:
            evaluation = evaluate(
                self.policy,
                prompts,
                columns,
                self.setup.rewards,
                sampling,
                on_step=lambda tokens, finished: on_progress(finished, tokens=tokens),
            )
        self.writer.log_evaluation(name, step, evaluation.rows)
        self.writer.log(name, step, evaluation.metrics)  # last: with this line it is done
        return evaluation.metrics

    def evaluations(self) -> list[dict[str, Any]]:
        """Return the metrics of the stage's evaluations so far, in order."""
        lines = read_metrics(self.writer.directory)
        return [x for x in lines if x["stage"] == self.stage.name and "eval/pass@1" in x]

    def show_completions(self, step: int, when: str) -> None:
        """Print the first answer to each question of an evaluation."""
        rows = read_table(list_tables(self.writer.directory, "eval")[self.stage.name][step])
        first = [row for row in rows if row["sample"] == 0]
        print_completions(f"{self.stage.name}: {when}", first)


def stage_checkpoints(directory: Path, stage: ReasoningRLStage) -> Checkpoints:
    """Return a stage's checkpoints in a run directory."""
    return Checkpoints(directory / "checkpoints", stage.name, stage.checkpoint.keep)


def stage_output(directory: Path, stage: ReasoningRLStage) -> Path:
    """Return the directory of a stage's policy, which is there once the stage is finished."""
    return directory / "stages" / stage.name


def evaluation_sampling(stage: ReasoningRLStage, step: int, seed: int) -> SamplingParams:
    """Return how answers are drawn in the evaluation after a step, to the limit in force."""
    settings = stage.evaluation
    in_force = stage.sampling_at(max(step, 1))
    return replace(
        in_force,  # its stops above all
        n=settings.samples,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=0,
        min_p=0.0,
        max_new_tokens=settings.max_new_tokens or in_force.max_new_tokens,
        seed=seed + EVALUATION_SEED,
    )

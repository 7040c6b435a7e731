"""A stage that trains, under way: logged, evaluated, saved; from the start or from a checkpoint.

The order within a step is fixed: metrics, completions, evaluation, checkpoint. So whatever moment
a run is killed at, the last checkpoint and the lines up to its step are all that a resumed run
needs to go on bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rich
from rich.text import Text

from r1core.benchmarks import Benchmark, run_benchmarks
from r1core.checkpoint import Checkpoint, CheckpointError, Checkpoints, load_state, whole_directory
from r1core.console import print_findings
from r1core.diagnosis import Watch, measure, note_failure
from r1core.interrupt import Interrupt
from r1core.lora import has_lora, merge_lora
from r1core.policy import Policy
from r1core.progress import StageProgress
from r1core.recipe_stages import Stage, TrainingStage
from r1core.stages.rl_state import load_random_state, random_state, seed_generators
from r1core.stages.training_state import TrainingState
from r1core.tracking import RunWriter, read_metrics
from r1core.types import StepStats


class StageRun:
    """What is around every stage that trains; a kind of stage adds its updates and evaluation.

    Attributes:
        state: of the generator, between two updates.
        benchmarks: what a finished policy is put to.

    Args:
        stage: its table of the recipe.
        seed: of the stage.
        policy: what it trains, a `Policy` or a `RewardModel`: where it starts, or a checkpoint's.
        writer: of the run.
        interrupt: asked after every step.
    """

    state: TrainingState

    def __init__(
        self, stage: Any, seed: int, policy: Any, writer: RunWriter, interrupt: Interrupt
    ) -> None:
        self.stage, self.seed, self.policy = stage, seed, policy
        self.writer, self.interrupt = writer, interrupt
        self.benchmarks: Sequence[Benchmark] = ()
        self.checkpoints = stage_checkpoints(writer.directory, stage)
        logged = read_metrics(writer.directory)
        self.watch = Watch(x for x in logged if x["stage"] == stage.name)

    def updates(self) -> Iterator[StepStats]:
        """Take the steps that are left, one by one."""
        raise NotImplementedError

    def evaluate(self, step: int) -> dict[str, float]:
        """Evaluate, log the result and return its metrics; none where there is nothing to."""
        raise NotImplementedError

    def is_evaluation_due(self, step: int) -> bool:
        """Tell whether to evaluate after a step that is not the last."""
        raise NotImplementedError

    def position(self) -> dict[str, Any]:
        """Return where the data stands, where `state` does not say."""
        return {}

    def load_position(self, state: Mapping[str, Any]) -> None:
        """Go on from `position`."""

    def score(self, evaluation: Mapping[str, float]) -> float | None:
        """Return how good an evaluation is, more being better: the best checkpoint is kept."""
        return evaluation.get("eval/pass@1")

    def show(self, step: int, when: str) -> None:
        """Show what the policy writes, where an evaluation has sampled it."""

    def summarise(self) -> None:
        """Print what the stage brought."""

    def run(self, checkpoint: Checkpoint | None = None) -> None:
        """Train the policy, evaluating before, during and after, and save it.

        Args:
            checkpoint: where to go on from; None to begin.
        """
        self.note()
        if checkpoint is None:
            self.begin()
        else:
            self.load_state_dict(load_state(checkpoint.path))
            rich.print(f"Going on with {self.stage.name} after step {self.state.step}")
            if self.state.step not in (line["step"] for line in self.evaluations()):
                self.evaluate_if_due(self.state.step)  # it was stopped in the middle
        try:
            self.interrupt.check()
            self.train()
        except CheckpointError:
            raise
        except Exception as error:
            note_failure(self.writer.directory, self.stage.name, self.state.step + 1, error)
            self.rescue()
            raise
        self.examine()
        with whole_directory(stage_output(self.writer.directory, self.stage)) as output:
            self.write_output(output)
        self.show(self.state.steps, f"after {self.state.steps} steps")
        self.summarise()

    def examine(self) -> None:
        """Put the finished policy to the run's benchmarks and log the result."""
        if self.benchmarks and isinstance(self.policy, Policy):
            metrics = run_benchmarks(self.benchmarks, self.policy, self.stage.name, self.writer)
            self.writer.log(self.stage.name, self.state.steps, metrics)

    def write_output(self, output: Path) -> None:
        """Write the stage's result, a Hugging Face directory."""
        merged = merge_lora(self.policy) if has_lora(self.policy) else self.policy
        merged.save_pretrained(output)

    def begin(self) -> None:
        """Evaluate the policy that the stage starts from."""
        seed_generators(self.seed)  # for what draws from them: user rewards, dropout
        self.evaluate(0)
        self.show(0, "before training")
        self.note()

    def train(self) -> None:
        """Take the steps that are left."""
        steps = self.state.steps
        with StageProgress(self.stage.name, steps) as progress:
            for stats in self.updates():
                self.note()
                evaluation = self.record(stats)
                progress.update(stats.step, stats.metrics | evaluation)
                self.note()
                if stats.step == steps or stats.step % self.stage.checkpoint.every == 0:
                    self.save(self.score(evaluation))
                if stats.step < steps:
                    self.stop_if_asked()

    def record(self, stats: StepStats) -> dict[str, float]:
        """Log a step and evaluate where that is due; return the evaluation's metrics."""
        stats.metrics |= measure(stats)
        self.writer.log(self.stage.name, stats.step, stats.metrics)
        self.writer.log_completions(self.stage.name, stats, stats.columns)
        print_findings(self.stage.name, self.watch.see(stats))
        return self.evaluate_if_due(stats.step)

    def evaluate_if_due(self, step: int) -> dict[str, float]:
        """Evaluate after a step where that is due; return the metrics, or none."""
        due = step == self.state.steps or self.is_evaluation_due(step)
        return self.evaluate(step) if due else {}

    def evaluations(self) -> list[dict[str, Any]]:
        """Return the metrics of the stage's evaluations so far, in order."""
        lines = [x for x in read_metrics(self.writer.directory) if x["stage"] == self.stage.name]
        return [x for x in lines if any(name.startswith("eval") for name in x)]

    def note(self) -> None:
        """Remember where data and random numbers stand: what a failed step takes is given back."""
        self._noted = {"questions": self.position(), "random": random_state()}

    def save(self, score: float | None = None) -> None:
        """Write a checkpoint of the last finished step."""
        state = self._noted | {"stage": self.state.state_dict()}
        self.checkpoints.save(self.state.step, self.policy, state, score)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save` wrote."""
        self.state.load_state_dict(state["stage"])
        self.load_position(state["questions"])
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
        if self.state.step > (found[-1].step if found else 0):
            try:
                self.save()
            except CheckpointError as error:
                rich.print(Text(str(error), "yellow"))
                return
        done = f"Stopped after step {self.state.step} of {self.state.steps} of {self.stage.name}"
        rich.print(f"{done}; the same command goes on from there")


def stage_checkpoints(directory: Path, stage: TrainingStage) -> Checkpoints:
    """Return a stage's checkpoints in a run directory."""
    return Checkpoints(directory / "checkpoints", stage.name, stage.checkpoint.keep)


def stage_output(directory: Path, stage: Stage) -> Path:
    """Return the directory of a stage's result, which is there once the stage is finished."""
    return directory / "stages" / stage.name

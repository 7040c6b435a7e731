"""A `reward_model` stage under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from r1core.checkpoint import Checkpoint
from r1core.data import DataSpec
from r1core.data.sources import Row, read_rows
from r1core.data.split import rows_of_part
from r1core.interrupt import Interrupt
from r1core.policy import Policy
from r1core.recipe_stages import RewardModelStage
from r1core.reward_model import RewardModel
from r1core.stage_data import located
from r1core.stage_run import StageRun
from r1core.stages.reward_model import RewardModelState, evaluation_metrics, reward_model
from r1core.tracking import RunWriter
from r1core.types import StepStats


class RewardModelRun(StageRun):
    """A stage that trains a reward model.

    Args:
        stage: its table of the recipe.
        seed: of the order of the rows.
        policy: whose backbone the model starts from.
        writer: of the run.
        interrupt: asked after every step.
        checkpoint: where the stage goes on from; None to begin.
    """

    def __init__(
        self,
        stage: RewardModelStage,
        seed: int,
        policy: Policy,
        writer: RunWriter,
        interrupt: Interrupt,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.model = (
            RewardModel.from_policy(policy, stage.part)
            if checkpoint is None
            else RewardModel.from_pretrained(checkpoint.path).trained_like(policy)
        )
        super().__init__(stage, seed, self.model, writer, interrupt)
        self.rows = load_rows(stage.data, writer.directory)
        held_out = stage.evaluation_data
        if held_out is None and stage.data.is_split:
            held_out = stage.data.held_out()
        self.held_out = load_rows(held_out, writer.directory) if held_out else []
        self.state: RewardModelState = RewardModelState(self.model, stage, len(self.rows))

    def updates(self) -> Iterator[StepStats]:
        """Take the steps that are left, one by one."""
        return reward_model(self.model, self.rows, self.stage, seed=self.seed, state=self.state)

    def is_evaluation_due(self, step: int) -> bool:
        """Tell whether to evaluate after a step that is not the last."""
        return bool(step % self.stage.evaluation_every == 0)

    def evaluate(self, step: int) -> dict[str, float]:
        """Log loss and accuracy on the rows held out, where there are any."""
        if not self.held_out:
            return {}
        metrics = evaluation_metrics(self.model, self.held_out, self.stage)
        self.writer.log(self.stage.name, step, metrics)
        return metrics

    def score(self, evaluation: Mapping[str, float]) -> float | None:
        """Return how good an evaluation is: the accuracy."""
        return evaluation.get("eval/accuracy")

    def write_output(self, output: Path) -> None:
        """Write the model, a Hugging Face directory."""
        self.model.save_pretrained(output)


def load_rows(spec: DataSpec, directory: Path) -> list[Row]:
    """Return the rows of a data table."""
    table = read_rows(located(spec, directory))
    return [table.rows[index] for index in rows_of_part(table.rows, spec)]

"""An `sft` stage under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import rich
from rich.text import Text

from r1core.data import DataSpec, Example, load_examples
from r1core.interrupt import Interrupt
from r1core.policy import Policy
from r1core.recipe import RecipeError
from r1core.recipe_stages import SFTStage
from r1core.stage_data import located
from r1core.stage_run import StageRun
from r1core.stages.sft import SFTState, evaluation_loss, sft
from r1core.tracking import RunWriter
from r1core.types import StepStats


class SFTRun(StageRun):
    """A supervised stage: its examples, and the loss on those held out.

    Args:
        stage: its table of the recipe.
        seed: of the order of the examples.
        policy: what it trains: where it starts, or a checkpoint's.
        writer: of the run.
        interrupt: asked after every step.

    Raises:
        RecipeError: no example fits.
    """

    def __init__(
        self, stage: SFTStage, seed: int, policy: Policy, writer: RunWriter, interrupt: Interrupt
    ) -> None:
        super().__init__(stage, seed, policy, writer, interrupt)
        self.examples = self.load(stage.data, writer.directory)
        held_out = stage.evaluation_data
        if held_out is None and stage.data.is_split:
            held_out = stage.data.held_out()
        self.held_out = self.load(held_out, writer.directory) if held_out else []
        self.state: SFTState = SFTState(policy, stage, len(self.examples))

    def load(self, spec: DataSpec, directory: Path) -> list[Example]:
        """Return the examples of a data table, and say how many were left out."""
        limit = self.stage.max_length or self.policy.max_context
        examples, dropped = load_examples(located(spec, directory), self.policy, max_length=limit)
        if dropped:
            total = dropped + len(examples)
            rich.print(Text(f"{self.stage.name}: {dropped} of {total} examples dropped: too long"))
        if not examples:
            raise RecipeError(f"stage {self.stage.name!r}: no example of {spec.source} fits")
        return examples

    def updates(self) -> Iterator[StepStats]:
        """Take the steps that are left, one by one."""
        return sft(self.policy, self.examples, self.stage, seed=self.seed, state=self.state)

    def is_evaluation_due(self, step: int) -> bool:
        """Tell whether to evaluate after a step that is not the last."""
        return bool(step % self.stage.evaluation_every == 0)

    def evaluate(self, step: int) -> dict[str, float]:
        """Log the loss on the examples held out, where there are any."""
        if not self.held_out:
            return {}
        metrics = {"eval/loss": evaluation_loss(self.policy, self.held_out, self.stage)}
        self.writer.log(self.stage.name, step, metrics)
        return metrics

    def score(self, evaluation: Mapping[str, float]) -> float | None:
        """Return how good an evaluation is: the lower the loss, the better."""
        loss = evaluation.get("eval/loss")
        return None if loss is None else -loss

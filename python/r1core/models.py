"""Where the policies of a run come from: the base, further models, finished stages, checkpoints."""

from __future__ import annotations

from pathlib import Path

from r1core.checkpoint import Checkpoint
from r1core.lora import add_lora, load_adapter
from r1core.policy import Policy
from r1core.progress import progress_callback
from r1core.recipe import Recipe
from r1core.recipe_sections import ModelSection
from r1core.recipe_stages import EvaluateStage, Stage
from r1core.types import StepStats
from r1core.worlds import World, load_world
from r1core.worlds.base import BaseShape, base_policy


class RecipeModels:
    """The models that a recipe names, each loaded when it is first asked for.

    Attributes:
        world: of the base; None where that is a checkpoint.

    Args:
        recipe: whose [model] and [models] these are.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        name = recipe.model.world
        self.world = load_world(name, seed=recipe.seed) if name else None
        self._roots: dict[str, Policy] = {}

    def root_name(self, start: str) -> str:
        """Return which model a stage that starts there descends from."""
        starts = {stage.name: stage.start for stage in self.recipe.stage}
        while start in starts:
            start = starts[start]
        return start if start in self.recipe.models else "base"

    def weights_of(self, start: str) -> str:
        """Return the start whose weights another one is: an `evaluate` stage has its own start's.

        Args:
            start: a stage, a model or a directory.
        """
        passed_on = {x.name: x.start for x in self.recipe.stage if isinstance(x, EvaluateStage)}
        while start in passed_on:
            start = passed_on[start]
        return start

    def section(self, start: str) -> ModelSection:
        """Return the settings of the model that a stage that starts there descends from."""
        return self.recipe.models.get(self.root_name(start), self.recipe.model)

    def root(self, start: str) -> Policy:
        """Return the model, untrained, that a stage that starts there descends from."""
        name = self.root_name(start)
        if name not in self._roots:
            self._roots[name] = load_root(self.section(start), self.world, self.recipe.seed)
        return self._roots[name]

    def trained(self, stage: Stage, directory: Path, checkpoint: Checkpoint | None) -> Policy:
        """Return the policy that a stage trains: where it starts, or a checkpoint's."""
        section = self.section(stage.start)
        if checkpoint is not None and section.lora is None:
            policy = load_policy(checkpoint.path, section)
        else:
            policy = self.start(stage, directory)
        if section.lora is not None:
            if checkpoint is None:
                add_lora(policy, section.lora, seed=self.recipe.seed)
            else:  # which holds the adapter alone
                load_adapter(policy, checkpoint.path)
        policy.forward = section.forward
        policy.gradient_checkpointing = section.gradient_checkpointing
        return policy

    def start(self, stage: Stage, directory: Path) -> Policy:
        """Return the policy that a stage starts from: the root itself where nothing needs it."""
        start = self.weights_of(stage.start)
        if start == self.root_name(start):
            others = (x for x in self.recipe.stage if x is not stage)
            last = not any(self.weights_of(x.start) == start for x in others)
            root = self.root(start)
            return root if last else root.trainable_copy()
        return self.finished(start, directory)

    def finished(self, name: str, directory: Path) -> Policy:
        """Return the policy that a stage has written, or a directory's."""
        saved = directory / "stages" / name
        return load_policy(saved if saved.is_dir() else Path(name), self.section(name))


def load_root(section: ModelSection, world: World | None, seed: int) -> Policy:
    """Return a model: an embedded world's, pretrained on first use, or a checkpoint."""
    if section.world is None:
        assert section.path is not None
        return load_policy(section.path, section)
    if world is None or world.name != section.world:
        world = load_world(section.world, seed=seed)
    shape = BaseShape(section.num_hidden_layers, section.hidden_size, section.pretrain_steps)
    with progress_callback(f"pretraining the {world.name} base") as on_progress:

        def report(stats: StepStats) -> None:
            shown = ("loss", "forced_accuracy")
            on_progress(stats.step, metrics={k: v for k, v in stats.metrics.items() if k in shown})

        return base_policy(world, shape=shape, on_progress=report)


def load_policy(path: str | Path, section: ModelSection) -> Policy:
    """Load a policy as the recipe's model."""
    return Policy.from_pretrained(path, dtype=section.dtype, device=section.device)

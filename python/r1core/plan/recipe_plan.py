"""From a recipe to the plans of its stages."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from r1core.models import RecipeModels
from r1core.plan import parts
from r1core.plan.device import Device, Kind
from r1core.plan.parts import Setup
from r1core.plan.shape import ModelShape, checkpoint_shape, world_shape
from r1core.plan.stage_plan import Around, StagePlan, critic_of, plan_stage
from r1core.recipe import Recipe, RecipeError
from r1core.recipe_sections import ModelSection
from r1core.recipe_stages import (
    ColdStartStage,
    DatasetStage,
    EvaluateStage,
    PreferenceStage,
    RewardModelStage,
    RLStage,
    SFTStage,
    Stage,
)
from r1core.worlds.base import BaseShape

WORLD_PROMPT, CHECKPOINT_PROMPT = 32, 256
"""Tokens of a prompt where nobody says: a world's questions have up to about 30, GSM8K's in a
template up to about 250."""

USABLE = 0.95
"""Share of a device that a run can count on: the rest goes to fragments and to other processes."""


@dataclass(frozen=True)
class RecipePlan:
    """What a recipe needs.

    Attributes:
        recipe: its name.
        device: what it was planned for.
        kind: of the device: where the recipe's model computes.
        prompt: tokens of a prompt, as planned.
        stages: in order.
    """

    recipe: str
    device: Device
    kind: Kind
    prompt: int
    stages: tuple[StagePlan, ...]

    @property
    def worst(self) -> StagePlan:
        """The stage with the highest peak."""
        return max(self.stages, key=lambda stage: stage.peak.total)

    @property
    def room(self) -> int:
        """Bytes of the device that may be used."""
        return int(USABLE * self.device.memory)

    def fits(self, stage: StagePlan) -> bool:
        """Tell whether a stage stays within the room there is."""
        return stage.peak.total <= self.room


def plan_recipe(
    recipe: Recipe,
    device: Device,
    *,
    prompt_tokens: int | None = None,
    only: Collection[str] = (),
) -> RecipePlan:
    """Return what each stage of a recipe needs.

    Args:
        recipe: from `load_recipe`.
        device: from `find_device`.
        prompt_tokens: of the longest prompt; None takes a guess by the kind of the base.
        only: names of the stages to plan; none names all.

    Raises:
        ValueError: a model that cannot be found, or a world on a GPU.
    """
    names = [stage.name for stage in recipe.stage]
    for name in only:
        if name not in names:
            raise RecipeError(f"--stage must be of {', '.join(names)}; got {name!r}")
    guess = CHECKPOINT_PROMPT if recipe.model.world is None else WORLD_PROMPT
    planner = Planner(recipe, device, prompt_tokens or guess)
    plans = [planner.plan(stage) for stage in recipe.stage if not only or stage.name in only]
    return RecipePlan(recipe.name, device, planner.kind, planner.prompt, tuple(plans))


class Planner:
    """Resolves the models of a recipe's stages; see `plan_recipe`."""

    def __init__(self, recipe: Recipe, device: Device, prompt: int) -> None:
        self.recipe, self.device, self.prompt = recipe, device, prompt
        self.models = RecipeModels(recipe)
        on_gpu = recipe.model.device.split(":")[0] != "cpu"
        self.kind: Kind = device.kind or ("cuda" if on_gpu else "cpu")

    def plan(self, stage: Stage) -> StagePlan:
        """Return what a stage needs."""
        setup = self.setup(stage)
        around = Around(
            prompt=self.prompt,
            other_models=self.other_models(stage),
            reward_models=self.reward_models(stage),
            judge=self.judge(stage),
        )
        return plan_stage(stage, setup, around)

    def section(self, start: str) -> ModelSection:
        """Return a model's table.

        Raises:
            ValueError: it is a world's, and the plan is for a GPU.
        """
        section = self.models.section(start)
        if section.world is not None and self.kind == "cuda":
            raise ValueError(
                f"plan: --device must be cpu or a size for the world {section.world}, which runs "
                f"on the CPU; got {self.device.name}"
            )
        return section

    def shape(self, start: str) -> ModelShape:
        """Return the sizes of what a stage that starts there runs."""
        section = self.section(start)
        known = {"base", *self.recipe.models, *(stage.name for stage in self.recipe.stage)}
        if start not in known and Path(start).is_dir():
            return checkpoint_shape(start)
        if section.world is not None:
            size = BaseShape(section.num_hidden_layers, section.hidden_size)
            return world_shape(section.world, self.recipe.seed, size)
        assert section.path is not None
        return checkpoint_shape(section.path)

    def setup(self, stage: Stage) -> Setup:
        """Return how a stage runs its model."""
        section, shape = self.section(stage.start), self.shape(stage.start)
        trains_policy = isinstance(stage, RLStage | SFTStage)
        engine = self.kind == "cpu" and shape.engine
        return Setup(
            shape=shape,
            b=element_bytes(section),
            kind=self.kind,
            engine=engine,
            native=engine and section.forward != "hf",
            lora=section.lora if trains_policy else None,
            checkpointing=section.gradient_checkpointing,
            threads=torch.get_num_threads(),
        )

    def other_models(self, stage: Stage) -> int:
        """Return the bytes of the run's roots, which stay once loaded; see `models`."""
        loaded = {"base"}
        for other in self.recipe.stage:
            before = self.recipe.stage.index(other) <= self.recipe.stage.index(stage)
            early = isinstance(other, RLStage | EvaluateStage) and not other.needs()
            reads = isinstance(other, RLStage | EvaluateStage | DatasetStage)
            if early or (before and (reads or self.starts_at_root(other))):
                loaded.add(self.models.root_name(other.start))
        if self.trains_root(stage):
            loaded.discard(self.models.root_name(stage.start))
        return sum(self.shape(x).parameters * element_bytes(self.section(x)) for x in loaded)

    def starts_at_root(self, stage: Stage) -> bool:
        """Tell whether a stage starts from an untrained model."""
        start = self.models.weights_of(stage.start)
        return start == self.models.root_name(start)

    def trains_root(self, stage: Stage) -> bool:
        """Tell whether a stage works on the model itself, as the last one to need it."""
        start = self.models.weights_of(stage.start)
        others = [x for x in self.recipe.stage if x is not stage]
        return self.starts_at_root(stage) and all(
            self.models.weights_of(x.start) != start for x in others
        )

    def reward_models(self, stage: Stage) -> tuple[Setup, ...]:
        """Return the models that grade a stage; they stay on the CPU whatever the policy does."""
        if self.kind != "cpu":
            return ()
        names = {x.stage for x in stage.all_rewards() if x.stage is not None}
        found = [x for x in self.recipe.stage if isinstance(x, RewardModelStage)]
        return tuple(critic_of(self.setup(x)) for x in found if x.name in names)

    def judge(self, stage: Stage) -> int:
        """Return the bytes of a local chat model, which runs in float32 on the CPU."""
        asked = stage.rewriter if isinstance(stage, ColdStartStage) else None
        asked = stage.judge if isinstance(stage, PreferenceStage) else asked
        if asked is None or asked.path is None or self.kind != "cpu":
            return 0
        return checkpoint_shape(asked.path).parameters * parts.FLOAT


def element_bytes(section: ModelSection) -> int:
    """Return the bytes of a weight."""
    return 2 if section.dtype == "bfloat16" else 4

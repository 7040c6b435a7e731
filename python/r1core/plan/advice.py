"""What to change where a stage does not fit, as keys of the recipe; every proposal is planned.

Changes that leave what is learned as it is (memory for time) come before those that do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from r1core.models import RecipeModels
from r1core.plan.device import Device
from r1core.plan.recipe_plan import RecipePlan, plan_recipe
from r1core.plan.stage_plan import StagePlan
from r1core.recipe import Recipe, RecipeError
from r1core.recipe_stages import RLStage, SFTStage, Stage

Load = Callable[[Sequence[str]], Recipe]
"""Returns the recipe with further `key=value` overrides."""

Values = Sequence[tuple[str, ...]]
"""Values of one change, mild to strong; each is some `key=value`."""

WORTHWHILE = 0.01  # share of the peak that a change must save


@dataclass(frozen=True)
class Change:
    """One change by itself.

    Attributes:
        keys: `key=value`, as `--set` takes them.
        peak: of the stage with them, bytes.
        fits: whether that is enough.
    """

    keys: tuple[str, ...]
    peak: int
    fits: bool


@dataclass(frozen=True)
class Advice:
    """How to make a stage fit.

    Attributes:
        stage: its name.
        singles: changes by themselves, the one that saves most first.
        together: keys that make it fit; empty where nothing does.
        peak: with them.
    """

    stage: str
    singles: tuple[Change, ...]
    together: tuple[str, ...]
    peak: int


def advise_recipe(
    load: Load, plan: RecipePlan, *, prompt_tokens: int | None = None
) -> list[Advice]:
    """Return what to change in every stage that does not fit; see `advise`."""
    return [
        advise(load, plan.device, stage, prompt_tokens=prompt_tokens)
        for stage in plan.stages
        if not plan.fits(stage)
    ]


def advise(
    load: Load, device: Device, stage: StagePlan, *, prompt_tokens: int | None = None
) -> Advice:
    """Return what to change so that a stage fits.

    Args:
        load: gives the recipe with overrides.
        device: where it is to fit.
        stage: the plan of the stage as it is.
        prompt_tokens: as in `plan_recipe`.
    """
    search = _Search(load, device, stage.name, prompt_tokens)
    families = search.families(())
    singles = [change for values in families if (change := search.best((), values))]
    saving = [x for x in singles if x.peak < (1 - WORTHWHILE) * stage.peak.total]
    together = search.together(stage.peak.total)
    fits, peak = search.peak(together)
    by_effect = sorted(saving, key=lambda change: change.peak)
    return Advice(stage.name, tuple(by_effect), together if fits else (), peak)


class _Search:
    """Plans a stage under overrides."""

    def __init__(self, load: Load, device: Device, stage: str, prompt_tokens: int | None) -> None:
        self.load, self.device, self.stage, self.prompt = load, device, stage, prompt_tokens

    def peak(self, keys: Sequence[str]) -> tuple[bool, int]:
        """Return whether the stage fits with these keys, and its peak."""
        plan: RecipePlan = plan_recipe(
            self.load(keys), self.device, prompt_tokens=self.prompt, only=[self.stage]
        )
        return plan.fits(plan.stages[0]), plan.stages[0].peak.total

    def best(self, keys: Sequence[str], values: Values) -> Change | None:
        """Return the mildest of some values that fits, or else the strongest; None for no value."""
        change = None
        for value in values:
            try:
                fits, peak = self.peak([*keys, *value])
            except RecipeError:  # the recipe forbids it, a world its dtype for instance
                break
            change = Change(value, peak, fits)
            if fits:
                break
        return change

    def together(self, peak: int) -> tuple[str, ...]:
        """Return keys that make the stage fit: the gentlest single one, or the largest savings.

        Then each goes back to the mildest value, or away, that the others allow.
        """
        chosen: list[tuple[Values, tuple[str, ...]]] = []
        while True:
            keys = joined(value for _, value in chosen)
            found = [(values, self.best(keys, values)) for values in self.families(keys)]
            changes = [(values, x) for values, x in found if x and x.peak < (1 - WORTHWHILE) * peak]
            if not changes:
                return keys
            fitting = [change for change in changes if change[1].fits]
            values, taken = fitting[0] if fitting else min(changes, key=lambda pair: pair[1].peak)
            peak = taken.peak
            chosen.append((values, taken.keys))
            if taken.fits:
                return self.relaxed(chosen)

    def relaxed(self, chosen: list[tuple[Values, tuple[str, ...]]]) -> tuple[str, ...]:
        """Return keys that still fit, each with its mildest value."""
        taken = [value for _, value in chosen]
        for k, (values, _) in enumerate(chosen):
            for value in [(), *values]:
                keys = joined([*taken[:k], value, *taken[k + 1 :]])
                if self.peak(keys)[0]:
                    taken[k] = value
                    break
        return joined(taken)

    def families(self, keys: Sequence[str]) -> list[Values]:
        """Return the changes that are left, gentle ones first: of each, values mild to strong."""
        recipe = self.load(keys)
        stage = next(stage for stage in recipe.stage if stage.name == self.stage)
        model = model_table(recipe, stage)
        return [
            values for values in [*model_changes(recipe, stage, model), *changes(stage)] if values
        ]


def joined(values: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the keys of all values; of one that comes twice the last."""
    found = {key.partition("=")[0]: key for value in values for key in value}
    return tuple(found.values())


def model_table(recipe: Recipe, stage: Stage) -> str:
    """Return where the settings of a stage's model are: "model" or "models.NAME"."""
    root = RecipeModels(recipe).root_name(stage.start)
    return f"models.{root}" if root in recipe.models else "model"


def model_changes(recipe: Recipe, stage: Stage, table: str) -> list[Values]:
    """Return changes of the model's table that are not made yet."""
    section = RecipeModels(recipe).section(stage.start)
    found: list[Values] = []
    if not section.gradient_checkpointing:
        found.append([(f"{table}.gradient_checkpointing=true",)])
    if section.forward == "hf":
        found.append([(f"{table}.forward=auto",)])
    if section.world is None and section.dtype == "float32":
        found.append([(f"{table}.dtype=bfloat16",)])
    if section.lora is None and isinstance(stage, RLStage | SFTStage):
        found.append([(f"{table}.lora={{ r = 16 }}",)])
    return found


def changes(stage: Stage) -> list[Values]:
    """Return changes of a stage's table."""
    name = stage.name
    found: list[Values] = []
    budget = getattr(stage, "tokens_per_micro_batch", None)
    if budget is not None:
        found.append(halvings(f"{name}.tokens_per_micro_batch", budget, times=4))
    if isinstance(stage, RLStage) and stage.loss.beta > 0:
        found.append([(f"{name}.loss.beta=0",)])
    if isinstance(stage, RLStage):
        found.append(fewer_rows(stage))
    elif (questions := getattr(stage, "questions_per_step", None)) is not None:
        found.append(halvings(f"{name}.questions_per_step", questions))
    if isinstance(stage, SFTStage) and stage.max_length:
        found.append(halvings(f"{name}.max_length", stage.max_length))
    elif isinstance(stage, RLStage):
        steady = (f"{name}.length_schedule=[]",) if stage.length_schedule else ()
        limit = max(stage.length_limits()) if steady else stage.sampling.max_new_tokens
        found.append(halvings(f"{name}.sampling.max_new_tokens", limit, steady))
    elif hasattr(stage, "sampling"):
        found.append(halvings(f"{name}.sampling.max_new_tokens", stage.sampling.max_new_tokens))
    return found


def fewer_rows(stage: RLStage) -> Values:
    """Return numbers of questions with which fewer completions are sampled together."""
    name, each = stage.name, stage.sampling.n * stage.minibatches
    values = []
    for rows in (256, 128, 64, 32):
        questions = min(stage.questions_per_step, max(1, rows // each))
        asked = min(stage.evaluation.questions, max(1, rows // stage.evaluation.samples))
        values.append(
            (f"{name}.questions_per_step={questions}", f"{name}.evaluation.questions={asked}")
        )
    return list(dict.fromkeys(values))


def halvings(
    key: str, value: int, more: tuple[str, ...] = (), *, times: int = 2
) -> list[tuple[str, ...]]:
    """Return a key with a half, a quarter, ... of its value."""
    return [(f"{key}={value >> k}", *more) for k in range(1, times + 1) if value >> k]

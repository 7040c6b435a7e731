"""What a stage needs before it runs: data loaded, rewards found.

So a wrong setting fails before anything is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from r1core.data import DataSpec, Questions, load_questions
from r1core.policy import Policy
from r1core.recipe import ReasoningRLStage, Recipe, RecipeError
from r1core.rewards import RewardSpec
from r1core.worlds import World


@dataclass(frozen=True)
class StageSetup:
    """A stage with its data and rewards resolved.

    Attributes:
        stage: its table of the recipe.
        seed: of its order of questions and its sampling.
        questions: to train on.
        held_out: to evaluate on.
        rewards: functions and weights.
    """

    stage: ReasoningRLStage
    seed: int
    questions: Questions
    held_out: Questions
    rewards: list[RewardSpec]

    @classmethod
    def prepare(cls, recipe: Recipe, index: int, base: Policy, world: World | None) -> StageSetup:
        """Load a stage's data and resolve its rewards."""
        stage = recipe.stage[index]

        def load(spec: DataSpec, max_new_tokens: int) -> Questions:
            room = None if base.max_context is None else base.max_context - max_new_tokens
            return load_questions(
                spec, world=world, tokenizer=base.tokenizer, max_prompt_tokens=room
            )

        limit = max(stage.length_limits())
        questions = load(stage.data, limit)
        held_out = load(evaluation_spec(stage), stage.evaluation.max_new_tokens or limit)
        if len(questions) < stage.questions_per_step:
            raise RecipeError(
                f"stage {stage.name!r}: data must hold at least questions_per_step = "
                f"{stage.questions_per_step} prompts; got {len(questions)} "
                f"({questions.dropped} dropped as too long)"
            )
        if len(held_out) == 0:
            raise RecipeError(
                f"stage {stage.name!r}: evaluation data must hold prompts that fit the context; "
                f"all {held_out.dropped} are too long"
            )
        return cls(
            stage=stage,
            seed=recipe.seed + index,
            questions=questions,
            held_out=held_out,
            rewards=[RewardSpec.resolve(r.name, weight=r.weight) for r in stage.rewards],
        )


def evaluation_spec(stage: ReasoningRLStage) -> DataSpec:
    """Return where a stage's evaluation questions come from."""
    if stage.evaluation_data is not None:
        return stage.evaluation_data
    if stage.data.path and Path(stage.data.path).is_file():
        raise RecipeError(
            f"stage {stage.name!r}: evaluation_data must be given where data is a single file, "
            'which has no splits: evaluation_data = { path = "test.jsonl", ... }'
        )
    split = "eval" if stage.data.world else "test"
    return stage.data.model_copy(update={"split": split, "limit": stage.evaluation.questions})

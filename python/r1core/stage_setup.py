"""What a stage needs before it runs: data loaded, rewards found.

So a wrong setting fails before anything is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import rich
from rich.text import Text

from r1core.data import DataSpec, Questions, load_questions
from r1core.interrupt import Interrupt
from r1core.models import RecipeModels
from r1core.policy import Policy
from r1core.progress import progress_callback
from r1core.recipe import Recipe, RecipeError
from r1core.recipe_stages import DatasetStage, RLStage, StageSection
from r1core.reward_sections import resolve_rewards
from r1core.rewards import RewardSpec
from r1core.stage_data import located
from r1core.stages.difficulty import filter_questions

PASS_RATE_SEED = 2 << 32  # added to the recipe's seed: neither training nor evaluation uses these


@dataclass(frozen=True)
class StageSetup:
    """A stage with its data and rewards resolved.

    Attributes:
        stage: its table of the recipe.
        seed: of its order of questions and its sampling.
        questions: to train on.
        mixture: further questions to train on, by the stage's `mixture`.
        held_out: to evaluate on.
        rewards: functions and weights.
    """

    stage: RLStage
    seed: int
    questions: Questions
    mixture: list[Questions]
    held_out: Questions
    rewards: list[RewardSpec]

    @classmethod
    def prepare(
        cls,
        recipe: Recipe,
        stage: RLStage,
        models: RecipeModels,
        directory: Path | None = None,
    ) -> StageSetup:
        """Load a stage's data and resolve its rewards.

        Args:
            recipe: the whole run's.
            stage: one of it.
            models: its tokenizers and worlds.
            directory: of the run, where the data is another stage's.
        """
        root = models.root(stage.start)

        def load(spec: DataSpec, max_new_tokens: int) -> Questions:
            room = prompt_room(f"stage {stage.name!r}", root.max_context, max_new_tokens)
            return load_questions(
                located(spec, directory) if directory else spec,
                world=models.world,
                tokenizer=root.tokenizer,
                max_prompt_tokens=room,
            )

        limit = max(stage.length_limits())
        questions = load(stage.data, limit)
        held_out = load(evaluation_spec(stage), stage.evaluation.max_new_tokens or limit)
        if questions.dropped:
            dropped = f"{questions.dropped} of {questions.dropped + len(questions)} prompts dropped"
            rich.print(Text(f"{stage.name}: {dropped}: too long"))
        if questions.contaminated:
            removed = f"{questions.contaminated} prompts removed"
            rich.print(Text(f"{stage.name}: {removed}: they share words with an evaluation"))
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
            seed=stage_seed(recipe, stage),
            questions=questions,
            mixture=[load(part.data, limit) for part in stage.mixture],
            held_out=held_out,
            rewards=resolve_rewards(stage.rewards, directory),
        )

    def filtered(self, policy: Policy | None, directory: Path, interrupt: Interrupt) -> StageSetup:
        """Return the setup with the questions that the recipe's `data.pass_rate` keeps.

        Args:
            policy: what the stage starts from; None where it goes on from a checkpoint.
            directory: of the run, which keeps the pass rates.
            interrupt: asked after every batch.
        """
        stage, config = self.stage, self.stage.data.pass_rate
        if config is None:
            return self
        sampling = replace(stage.sampling_at(1), seed=self.seed + PASS_RATE_SEED)
        title = f"{stage.name}: rating prompts"
        with progress_callback(title, len(self.questions)) as show:

            def on_progress(done: int, total: int, kept: int) -> None:
                show(done, total, kept=kept)
                interrupt.check()

            rated = filter_questions(
                policy,
                self.questions,
                self.rewards,
                sampling,
                config,
                path=directory / "pass_rates" / f"{stage.name}.jsonl",
                on_progress=on_progress,
            )
        rich.print(Text(f"{stage.name}: {rated.summary()}"))
        if len(rated.questions) < stage.questions_per_step:
            raise RecipeError(
                f"stage {stage.name!r}: data.pass_rate must leave at least questions_per_step = "
                f"{stage.questions_per_step} prompts; {rated.summary()}"
            )
        return replace(self, questions=rated.questions)


def prompt_room(owner: str, max_context: int | None, max_new_tokens: int) -> int | None:
    """Return the longest prompt, in tokens, that leaves a completion room in the context.

    Args:
        owner: the stage or the benchmark, for messages.
        max_context: of its model; None where that has no limit.
        max_new_tokens: longest completion.

    Raises:
        RecipeError: the completion alone fills the context.
    """
    if max_context is None:
        return None
    if max_new_tokens >= max_context:
        raise RecipeError(
            f"{owner}: max_new_tokens must leave a prompt room in the model's context of "
            f"{max_context} tokens; got {max_new_tokens}"
        )
    return max_context - max_new_tokens


def source_questions(
    stage: DatasetStage, models: RecipeModels, directory: Path
) -> dict[str, Questions]:
    """Return the questions of each source of a stage that makes a data set."""
    root = models.root(stage.start)
    room = prompt_room(f"stage {stage.name!r}", root.max_context, stage.sampling.max_new_tokens)
    return {
        source.name: load_questions(
            located(source.data, directory),
            world=models.world,
            tokenizer=root.tokenizer,
            max_prompt_tokens=room,
        )
        for source in stage.sources
    }


def stage_seed(recipe: Recipe, stage: StageSection) -> int:
    """Return the seed of a stage: no two of a recipe have the same."""
    return recipe.seed + [x.name for x in recipe.stage].index(stage.name)


def evaluation_spec(stage: RLStage) -> DataSpec:
    """Return where a stage's evaluation questions come from."""
    if stage.evaluation_data is not None:
        return stage.evaluation_data
    try:
        return stage.data.held_out(stage.evaluation.questions)
    except ValueError as error:
        raise RecipeError(f"stage {stage.name!r}: {error}") from None

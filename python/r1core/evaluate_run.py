"""An `evaluate` stage of a recipe: asked, graded, logged, kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import rich

from r1core.checkpoint import whole_directory
from r1core.data import load_questions
from r1core.evaluation import AskedQuestions, ask_set, evaluate_questions, write_result
from r1core.evaluation.run import check_some
from r1core.evaluation.table import print_result
from r1core.interrupt import Interrupt
from r1core.models import RecipeModels
from r1core.policy import Policy
from r1core.progress import progress_callback
from r1core.recipe_stages import EvaluateStage
from r1core.reward_sections import resolve_rewards
from r1core.rewards import RewardSpec
from r1core.stage_data import located
from r1core.stage_run import stage_output
from r1core.stage_setup import prompt_room
from r1core.tracking import RunWriter
from r1core.types import SamplingParams
from r1core.worlds import World


def run_evaluation(
    stage: EvaluateStage, seed: int, models: RecipeModels, writer: RunWriter, interrupt: Interrupt
) -> None:
    """Evaluate the policy that a stage starts from, as step 0 of that stage.

    Args:
        stage: its table of the recipe.
        seed: of the sampling.
        models: where policies come from.
        writer: of the run.
        interrupt: asked after every thousand answers.
    """
    policy = models.start(stage, writer.directory)
    asked = asked_questions(stage, policy, models.world, writer.directory)
    sampling = SamplingParams(
        n=stage.samples or asked.samples,
        temperature=stage.temperature,
        top_p=stage.top_p,
        max_new_tokens=stage.max_new_tokens,
        seed=seed,
    )
    total = len(asked.questions) * sampling.n
    with progress_callback(f"{stage.name}: {total:,} answers", total) as on_progress:
        result = evaluate_questions(
            policy,
            asked,
            sampling,
            model=stage.start,
            on_progress=on_progress,
            check=interrupt.check,
        )
    writer.log(stage.name, 0, result.metrics)
    writer.log_evaluation(stage.name, 0, result.rows)
    with whole_directory(stage_output(writer.directory, stage)) as output:
        write_result(output, result)
    print_result(result, rich.get_console())


def check_evaluation(stage: EvaluateStage, models: RecipeModels) -> None:
    """Load the questions of a stage that waits for no other: a wrong setting fails before training.

    Raises:
        ValueError: they cannot be read, or none fits the model's context.
    """
    if stage.needs():
        return
    asked = asked_questions(stage, models.root(stage.start), models.world, Path())
    check_some(asked, stage.max_new_tokens)


def asked_questions(
    stage: EvaluateStage, policy: Policy, world: World | None, directory: Path
) -> AskedQuestions:
    """Return the questions of a stage's set, or of its data."""
    rewards = resolve_rewards(stage.rewards, directory)
    room = prompt_room(f"stage {stage.name!r}", policy.max_context, stage.max_new_tokens)
    if stage.set is not None:
        asked = ask_set(
            stage.set,
            policy.tokenizer,
            path=stage.path,
            questions=stage.questions,
            shots=stage.shots,
            shots_path=stage.shots_path,
            template=stage.template,
            max_prompt_tokens=room,
        )
        return replace(asked, rewards=[*asked.rewards, *rewards])
    assert stage.data is not None
    spec = located(stage.data, directory)
    if stage.questions is not None:
        spec = spec.model_copy(update={"limit": stage.questions})
    questions = load_questions(
        spec, world=world, tokenizer=policy.tokenizer, max_prompt_tokens=room
    )
    graded = rewards or [RewardSpec.resolve("accuracy")]
    return AskedQuestions(stage.name, spec.source, questions, graded, spec.template)

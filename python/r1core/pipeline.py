"""Runs a recipe: the paper's figure, stage by stage, into one run directory.

Stages are generators; everything around them is here and in `stage_run`: loading, evaluation,
logging, saving, report. The same command on the same directory goes on where a run stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rich
from rich.text import Text

from r1core.benchmarks import Benchmark, load_benchmarks
from r1core.checkpoint import Checkpoint
from r1core.dataset_run import DatasetRun, rounds_done
from r1core.evaluate_run import check_evaluation, run_evaluation
from r1core.interrupt import Interrupt
from r1core.load_checks import check_device
from r1core.manifest import describe_run
from r1core.models import RecipeModels
from r1core.policy import describe
from r1core.recipe import Recipe, RecipeError
from r1core.recipe_stages import (
    DatasetStage,
    EvaluateStage,
    PPOStage,
    RewardModelStage,
    RLStage,
    SFTStage,
    Stage,
)
from r1core.report import write_report
from r1core.report_data import load_stages
from r1core.reward_model_run import RewardModelRun
from r1core.rewards import close_workers
from r1core.rewards.soft_deadline import forget_warnings
from r1core.rl_run import PPORun, RLRun
from r1core.run_directory import begin_run, changes_since, holds_run, locked
from r1core.sft_run import SFTRun
from r1core.stage_checks import check_stages
from r1core.stage_run import StageRun, stage_checkpoints, stage_output
from r1core.stage_setup import StageSetup, source_questions, stage_seed
from r1core.stage_table import print_stage_table, stage_table
from r1core.trackers import check_trackers, open_trackers
from r1core.tracking import RunWriter, rewind_metrics


def run_recipe(
    recipe: Recipe,
    directory: str | Path,
    *,
    overwrite: bool = False,
    only: Collection[str] = (),
) -> Path:
    """Run the stages of a recipe and write its report; an earlier run of it is gone on with.

    Whatever ends a run, the same call goes on from its last checkpoint, bit for bit. Ctrl-C ends it
    after the step under way, with a checkpoint and the report of what was done, and raises.

    Args:
        recipe: from `load_recipe`.
        directory: the run directory, made here.
        overwrite: begin again in place of an earlier run in that directory.
        only: names of the stages to run, once what they need is there; none names all.

    Returns:
        The path of `report.md`.

    Raises:
        ValueError: the directory is in use, or the recipe asks for what does not fit together.
        CheckpointError: a checkpoint cannot be written, or none that is there can be read.
    """
    directory = Path(directory)
    check_trackers(recipe.trackers)
    check_names(recipe, only)
    holds_run(directory, recipe, overwrite=overwrite)  # a wrong directory costs no pretraining
    models = RecipeModels(recipe)
    setups = prepare_stages(recipe, models)
    manifest = describe_run(
        seed=recipe.seed,
        model=describe(models.root("base")),
        data={name: setup.questions.fingerprint for name, setup in setups.items()},
    )
    with locked(directory):  # only now: a wrong setting costs no earlier run
        if not holds_run(directory, recipe, overwrite=overwrite):
            begin_run(directory, recipe, manifest)
        elif changes := changes_since(directory, manifest):
            listed = "; ".join(changes)
            rich.print(Text(f"Going on elsewhere, so not to the same bits: {listed}", "yellow"))
        run_stages(recipe, setups, models, directory, only)
        report = write_report(directory)
    print_stage_table(stage_table(load_stages(directory, {})))
    rich.print(Text(f"Report: {report}"))
    return report


def is_finished(recipe: Recipe, directory: Path) -> bool:
    """Tell whether a directory holds a run of this recipe with no stage left to run.

    Raises:
        RecipeError: the directory is in use for something else.
    """
    begun = holds_run(directory, recipe)
    return begun and all(stage_output(directory, stage).is_dir() for stage in recipe.stage)


def prepare_stages(recipe: Recipe, models: RecipeModels) -> dict[str, StageSetup]:
    """Load the data of the stages that wait for no other: a wrong setting fails before training."""
    for section in (recipe.model, *recipe.models.values()):
        check_device(section.device)  # further models are loaded stages later
    if recipe.model.path is not None:
        models.root("base")  # a wrong checkpoint is said before its data are fetched
    check_stages(recipe)  # before an embedded base is pretrained
    for stage in recipe.stage:
        if isinstance(stage, EvaluateStage):
            check_evaluation(stage, models)
    return {
        stage.name: StageSetup.prepare(recipe, stage, models)
        for stage in recipe.stage
        if isinstance(stage, RLStage) and not stage.needs()
    }


@dataclass(frozen=True)
class StageContext:
    """What a stage runs in.

    Attributes:
        recipe: the whole run's.
        setups: data and rewards of the stages that could be loaded before the first.
        models: where policies come from.
        benchmarks: what finished policies are put to.
        writer: of the run.
        interrupt: asked after every step.
    """

    recipe: Recipe
    setups: Mapping[str, StageSetup]
    models: RecipeModels
    benchmarks: Sequence[Benchmark]
    writer: RunWriter
    interrupt: Interrupt


def run_stages(
    recipe: Recipe,
    setups: dict[str, StageSetup],
    models: RecipeModels,
    directory: Path,
    only: Collection[str],
) -> None:
    """Run the stages that are not finished, each from its last checkpoint."""
    unfinished = [stage for stage in recipe.stage if not stage_output(directory, stage).is_dir()]
    finished = [stage.name for stage in recipe.stage if stage not in unfinished]
    left = [stage for stage in unfinished if not only or stage.name in only]
    if not left:
        done = "these stages are" if only else "it is"
        rich.print(Text(f"Nothing to do in {directory}: {done} finished; --overwrite begins again"))
        return
    check_needs(recipe, left, finished)
    benchmarks = load_benchmarks(recipe, models)
    checkpoints = {stage.name: last_checkpoint(directory, stage) for stage in unfinished}
    under_way: dict[str, int] = {}
    for stage in unfinished:
        under_way |= steps_done(directory, stage, checkpoints[stage.name])
    rewind_metrics(directory, finished, under_way)
    settings = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    trackers = open_trackers(recipe.trackers, directory, settings)  # once metrics are rewound
    with RunWriter(directory, trackers) as writer, Interrupt() as interrupt:
        context = StageContext(recipe, setups, models, benchmarks, writer, interrupt)
        try:
            for stage in left:
                run_stage(stage, context, checkpoints[stage.name])
        except BaseException:
            write_report_if_possible(directory)
            raise
        finally:
            close_workers()
            forget_warnings()


def check_names(recipe: Recipe, only: Collection[str]) -> None:
    """Raise RecipeError for a name that no stage has."""
    names = [stage.name for stage in recipe.stage]
    for name in only:
        if name not in names:
            raise RecipeError(f"--stage must be of {', '.join(names)}; got {name!r}")


def check_needs(recipe: Recipe, left: Sequence[Stage], finished: Sequence[str]) -> None:
    """Raise RecipeError where a stage to run needs one that neither is there nor is to run."""
    names = {stage.name for stage in recipe.stage}
    there = set(finished)
    for stage in left:
        if missing := sorted(({stage.start, *stage.needs()} & names) - there):
            raise RecipeError(
                f"stage {stage.name!r} needs {', '.join(missing)}, not run yet; add "
                + " ".join(f"--stage {name}" for name in missing)
            )
        there.add(stage.name)


def last_checkpoint(directory: Path, stage: Stage) -> Checkpoint | None:
    """Return where a stage goes on from; None where it begins, or has no steps to save."""
    if isinstance(stage, DatasetStage | EvaluateStage):
        return None
    return stage_checkpoints(directory, stage).latest()


def steps_done(directory: Path, stage: Stage, checkpoint: Checkpoint | None) -> dict[str, int]:
    """Return the steps of an unfinished stage whose metrics stay as they are."""
    if isinstance(stage, DatasetStage):
        return {stage.name: rounds_done(directory, stage)}
    return {stage.name: checkpoint.step} if checkpoint else {}


def run_stage(stage: Stage, context: StageContext, checkpoint: Checkpoint | None) -> None:
    """Run one stage, to its end or from its checkpoint."""
    writer, interrupt, models = context.writer, context.interrupt, context.models
    directory, seed = writer.directory, stage_seed(context.recipe, stage)
    run: StageRun
    if isinstance(stage, DatasetStage):
        questions = source_questions(stage, models, directory)
        policy = models.start(stage, directory)
        DatasetRun(stage, seed, questions, policy, writer, interrupt).run()
        return
    if isinstance(stage, EvaluateStage):
        run_evaluation(stage, seed, models, writer, interrupt)
        return
    if isinstance(stage, RewardModelStage):
        policy = models.start(stage, directory)
        run = RewardModelRun(stage, seed, policy, writer, interrupt, checkpoint)
        run.run(checkpoint)
        return
    policy = models.trained(stage, directory, checkpoint)
    if isinstance(stage, SFTStage):
        run = SFTRun(stage, seed, policy, writer, interrupt)
    else:
        setup = context.setups.get(stage.name)
        setup = setup or StageSetup.prepare(context.recipe, stage, models, directory)
        begun = policy if checkpoint is None else None
        kind = PPORun if isinstance(stage, PPOStage) else RLRun
        run = kind(setup.filtered(begun, directory, interrupt), policy, writer, interrupt)
    run.benchmarks = context.benchmarks
    run.run(checkpoint)


def write_report_if_possible(directory: Path) -> None:
    """Write the report of a run that failed; what it failed of matters more than the report."""
    try:
        write_report(directory)
    except Exception as error:
        rich.print(Text(f"No report: {error}"))

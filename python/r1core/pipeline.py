"""Runs a recipe: the paper's figure, stage by stage, into one run directory.

Stages are generators; everything around them is here and in `stage_run`: loading, evaluation,
logging, saving, report. The same command on the same directory goes on where a run stopped.
"""

from __future__ import annotations

from pathlib import Path

import rich
from rich.text import Text

from r1core.checkpoint import Checkpoint
from r1core.interrupt import Interrupt
from r1core.lora import add_lora, load_adapter
from r1core.manifest import describe_run
from r1core.policy import Policy, describe
from r1core.progress import progress_callback
from r1core.recipe import ModelSection, ReasoningRLStage, Recipe, RecipeError
from r1core.report import write_report
from r1core.rewards import close_workers
from r1core.rewards.soft_deadline import forget_warnings
from r1core.run_directory import begin_run, changes_since, holds_run, locked
from r1core.stage_run import StageRun, stage_checkpoints, stage_output
from r1core.stage_setup import StageSetup
from r1core.trackers import check_trackers, open_trackers
from r1core.tracking import RunWriter, rewind_metrics
from r1core.types import StepStats
from r1core.worlds import World, load_world
from r1core.worlds.base import base_policy


def run_recipe(recipe: Recipe, directory: Path, *, overwrite: bool = False) -> Path:
    """Run every stage of a recipe and write its report; an earlier run of it is gone on with.

    Whatever ends a run, the same call goes on from its last checkpoint, bit for bit. Ctrl-C ends it
    after the step under way, with a checkpoint and the report of what was done, and raises.

    Args:
        recipe: from `load_recipe`.
        directory: the run directory, made here.
        overwrite: begin again in place of an earlier run in that directory.

    Returns:
        The path of `report.md`.

    Raises:
        ValueError: the directory is in use, or the recipe asks for what does not fit together.
        CheckpointError: a checkpoint cannot be written, or none that is there can be read.
    """
    check_trackers(recipe.trackers)
    holds_run(directory, recipe, overwrite=overwrite)  # a wrong directory costs no pretraining
    world = load_world(recipe.model.world, seed=recipe.seed) if recipe.model.world else None
    base = load_base(recipe.model, world)
    setups = [StageSetup.prepare(recipe, index, base, world) for index in range(len(recipe.stage))]
    manifest = describe_run(
        seed=recipe.seed,
        model=describe(base),
        data={setup.stage.name: setup.questions.fingerprint for setup in setups},
    )
    with locked(directory):  # only now: a wrong setting costs no earlier run
        if not holds_run(directory, recipe, overwrite=overwrite):
            begin_run(directory, recipe, manifest)
        elif changes := changes_since(directory, manifest):
            listed = "; ".join(changes)
            rich.print(Text(f"Going on elsewhere, so not to the same bits: {listed}", "yellow"))
        run_stages(recipe, setups, base, directory)
        report = write_report(directory)
    rich.print(Text(f"Report: {report}"))
    return report


def is_unfinished(recipe: Recipe, directory: Path) -> bool:
    """Tell whether a directory holds a run of this recipe with stages left to run."""
    try:
        begun = holds_run(directory, recipe)
    except RecipeError:
        return False
    return begun and not all(stage_output(directory, stage).is_dir() for stage in recipe.stage)


def run_stages(recipe: Recipe, setups: list[StageSetup], base: Policy, directory: Path) -> None:
    """Run the stages that are not finished, the first of them from its last checkpoint."""
    left = [setup for setup in setups if not stage_output(directory, setup.stage).is_dir()]
    finished = [setup.stage.name for setup in setups if setup not in left]
    if not left:
        rich.print(Text(f"The run in {directory} is finished; --overwrite begins again"))
        return
    checkpoint = stage_checkpoints(directory, left[0].stage).latest()
    under_way = {left[0].stage.name: checkpoint.step} if checkpoint else {}
    rewind_metrics(directory, finished, under_way)
    settings = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    trackers = open_trackers(recipe.trackers, directory, settings)  # once metrics are rewound
    with RunWriter(directory, trackers) as writer, Interrupt() as interrupt:
        try:
            for setup in left:
                policy = trained_policy(setup.stage, recipe, base, directory, checkpoint)
                setup = setup.filtered(None if checkpoint else policy, directory, interrupt)
                StageRun(setup, policy, writer, interrupt).run(checkpoint)
                checkpoint = None
        except BaseException:
            write_report_if_possible(directory)
            raise
        finally:
            close_workers()
            forget_warnings()


def write_report_if_possible(directory: Path) -> None:
    """Write the report of a run that failed; what it failed of matters more than the report."""
    try:
        write_report(directory)
    except Exception as error:
        rich.print(Text(f"No report: {error}"))


def load_base(section: ModelSection, world: World | None) -> Policy:
    """Return the base policy: an embedded world's, pretrained on first use, or a checkpoint."""
    if world is None:
        assert section.path is not None
        return load_policy(section.path, section)
    with progress_callback(f"pretraining the {world.name} base") as on_progress:

        def report(stats: StepStats) -> None:
            shown = ("loss", "forced_accuracy")
            on_progress(stats.step, metrics={k: v for k, v in stats.metrics.items() if k in shown})

        return base_policy(world, on_progress=report)


def trained_policy(
    stage: ReasoningRLStage,
    recipe: Recipe,
    base: Policy,
    directory: Path,
    checkpoint: Checkpoint | None,
) -> Policy:
    """Return the policy that a stage trains: where it starts, or a checkpoint's."""
    section = recipe.model
    if checkpoint is not None and section.lora is None:
        policy = load_policy(checkpoint.path, section)
    else:
        policy = start_policy(stage, recipe, base, directory)
    if section.lora is not None:
        if checkpoint is None:
            add_lora(policy, section.lora, seed=recipe.seed)
        else:  # which holds the adapter alone
            load_adapter(policy, checkpoint.path)
    policy.gradient_checkpointing = section.gradient_checkpointing
    return policy


def start_policy(stage: ReasoningRLStage, recipe: Recipe, base: Policy, directory: Path) -> Policy:
    """Return the policy that a stage starts from: the base itself where nothing needs it later."""
    if stage.start == "base":
        last = not any(later.start == "base" for later in recipe.stage if later is not stage)
        return base if last else base.trainable_copy()
    saved = directory / "stages" / stage.start
    return load_policy(saved if saved.is_dir() else Path(stage.start), recipe.model)


def load_policy(path: str | Path, section: ModelSection) -> Policy:
    """Load a policy as the recipe's model."""
    return Policy.from_pretrained(path, dtype=section.dtype, device=section.device)

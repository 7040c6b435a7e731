"""Runs a recipe: the paper's figure, stage by stage, into one run directory.

Stages are generators; everything around them is here: loading, evaluation, logging, saving, report.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rich
from rich.text import Text

from r1core.console import print_completions, print_evaluation, print_summary
from r1core.data import DataSpec, PromptSampler, Questions, load_questions
from r1core.manifest import write_atomic, write_manifest
from r1core.policy import Policy, describe
from r1core.progress import StageProgress, progress_callback
from r1core.recipe import ModelSection, ReasoningRLStage, Recipe, RecipeError, to_toml
from r1core.report import write_report
from r1core.rewards import RewardSpec
from r1core.stages.evaluate import Evaluation, evaluate
from r1core.stages.reasoning_rl import Batch, reasoning_rl
from r1core.tracking import RunWriter
from r1core.types import StepStats
from r1core.worlds import World, load_world
from r1core.worlds.base import base_policy

EVALUATION_SEED = 1 << 32  # added to the recipe's seed: evaluation never reuses training's numbers


def run_recipe(recipe: Recipe, directory: Path, *, overwrite: bool = False) -> Path:
    """Run every stage of a recipe and write its report.

    Ctrl-C saves the policy as it is, writes the report of what was done, and raises.

    Args:
        recipe: from `load_recipe`.
        directory: the run directory, made here.
        overwrite: replace an earlier run in that directory.

    Returns:
        The path of `report.md`.

    Raises:
        ValueError: the directory is in use, or the recipe asks for what does not fit together.
    """
    check_directory(directory, overwrite=overwrite)
    world = load_world(recipe.model.world, seed=recipe.seed) if recipe.model.world else None
    base = load_base(recipe.model, world)
    runs = [StageRun.prepare(recipe, index, base, world) for index in range(len(recipe.stage))]
    make_directory(directory)  # only now: a wrong setting costs no earlier run
    write_atomic(directory / "recipe.toml", to_toml(recipe))
    write_manifest(
        directory,
        seed=recipe.seed,
        model=describe(base),
        data={run.stage.name: run.questions.fingerprint for run in runs},
    )
    with RunWriter(directory) as writer:
        try:
            for run in runs:
                policy = start_policy(run.stage, recipe, base, directory)
                run.train(policy, writer, directory)
        finally:
            report = write_report(directory)
    rich.print(Text(f"Report: {report}"))
    return report


def check_directory(directory: Path, *, overwrite: bool) -> None:
    """Raise RecipeError where a run directory is in use; only a run may be replaced, if asked."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    is_run = all((directory / name).is_file() for name in ("recipe.toml", "manifest.json"))
    if not (overwrite and is_run):
        cure = "pass --overwrite to replace it, or" if is_run else "it holds no run:"
        raise RecipeError(f"{directory} is not empty; {cure} choose another --output")


def make_directory(directory: Path) -> None:
    """Make an empty run directory in place of what `check_directory` allowed to go."""
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)


def load_base(section: ModelSection, world: World | None) -> Policy:
    """Return the base policy: an embedded world's, pretrained on first use, or a checkpoint."""
    if world is None:
        assert section.path is not None
        return Policy.from_pretrained(section.path, dtype=section.dtype, device=section.device)
    with progress_callback(f"pretraining the {world.name} base") as on_progress:

        def report(stats: StepStats) -> None:
            shown = ("loss", "forced_accuracy")
            on_progress(stats.step, metrics={k: v for k, v in stats.metrics.items() if k in shown})

        return base_policy(world, on_progress=report)


def start_policy(stage: ReasoningRLStage, recipe: Recipe, base: Policy, directory: Path) -> Policy:
    """Return the policy that a stage starts from; the base itself where nothing needs it later."""
    if stage.start == "base":
        last = not any(later.start == "base" for later in recipe.stage if later is not stage)
        return base if last else base.trainable_copy()
    saved = directory / "stages" / stage.start
    path = saved if saved.is_dir() else Path(stage.start)
    return Policy.from_pretrained(path, dtype=recipe.model.dtype, device=recipe.model.device)


@dataclass
class StageRun:
    """One stage with its data and rewards resolved, so that a wrong setting fails at the start."""

    stage: ReasoningRLStage
    seed: int
    questions: Questions
    held_out: Questions
    rewards: list[RewardSpec]

    @classmethod
    def prepare(cls, recipe: Recipe, index: int, base: Policy, world: World | None) -> StageRun:
        """Load a stage's data and resolve its rewards."""
        stage = recipe.stage[index]

        def load(spec: DataSpec, max_new_tokens: int) -> Questions:
            room = None if base.max_context is None else base.max_context - max_new_tokens
            return load_questions(
                spec, world=world, tokenizer=base.tokenizer, max_prompt_tokens=room
            )

        limit = stage.sampling.max_new_tokens
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

    def train(self, policy: Policy, writer: RunWriter, directory: Path) -> None:
        """Train `policy`, evaluating before, during and after, and save it."""
        stage, name = self.stage, self.stage.name
        before = self.evaluate(policy, 0, writer)
        print_completions(f"{name}: before training", first_samples(before))
        print_evaluation(f"{name}, step 0", before.metrics)
        after, step = before, 0
        config = stage.model_copy(update={"sampling": replace(stage.sampling, seed=self.seed)})
        try:
            with StageProgress(name, stage.steps) as progress:
                for stats in reasoning_rl(policy, self.batches(), self.rewards, config):
                    step = stats.step
                    writer.log(name, step, stats.metrics)
                    writer.log_completions(name, stats, stats.columns)
                    progress.update(step, stats.metrics)
                    if step % stage.evaluation.every == 0 or step == stage.steps:
                        after = self.evaluate(policy, step, writer)
                        progress.update(step, after.metrics)
        except BaseException:
            rescued = directory / "checkpoints" / f"{name}-step-{step:05d}"
            save_policy(policy, rescued)
            done = f"Stopped after step {step} of {stage.steps}; the policy is in {rescued}"
            rich.print(Text(done))
            raise
        save_policy(policy, directory / "stages" / name)
        print_completions(f"{name}: after {step} steps", first_samples(after))
        print_summary(before.metrics, after.metrics)

    def batches(self) -> Iterator[Batch]:
        """Yield the questions of each step, shuffled by the seed, epoch after epoch."""
        sampler = PromptSampler(len(self.questions), self.stage.questions_per_step, self.seed)
        while True:
            indices, uids = sampler.next()
            prompts, columns = self.questions.batch(indices)
            yield Batch(prompts=prompts, columns=columns, uids=uids)

    def evaluate(self, policy: Policy, step: int, writer: RunWriter) -> Evaluation:
        """Evaluate on the held-out questions and log the result."""
        settings = self.stage.evaluation
        prompts, columns = self.held_out.batch(range(min(settings.questions, len(self.held_out))))
        sampling = replace(
            self.stage.sampling,  # its stops above all
            n=settings.samples,
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=0,
            min_p=0.0,
            max_new_tokens=settings.max_new_tokens or self.stage.sampling.max_new_tokens,
            seed=self.seed + EVALUATION_SEED,
        )
        total = len(prompts) * settings.samples
        with progress_callback(f"{self.stage.name}: evaluating", total) as on_progress:
            evaluation = evaluate(
                policy,
                prompts,
                columns,
                self.rewards,
                sampling,
                on_step=lambda tokens, finished: on_progress(finished, tokens=tokens),
            )
        writer.log(self.stage.name, step, evaluation.metrics)
        writer.log_evaluation(self.stage.name, step, evaluation.rows)
        return evaluation


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


def first_samples(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the first answer to each question."""
    return [row for row in evaluation.rows if row["sample"] == 0]


def save_policy(policy: Policy, path: Path) -> None:
    """Write a policy's directory whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    policy.save_pretrained(temporary)
    if path.exists():
        shutil.rmtree(path)
    os.replace(temporary, path)

"""The evaluations that every policy of a run goes through: the paper's table of stages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from r1core.data import Questions, load_questions
from r1core.models import RecipeModels
from r1core.policy import Policy
from r1core.progress import progress_callback
from r1core.recipe import Recipe
from r1core.recipe_sections import BenchmarkSection
from r1core.reward_sections import resolve_rewards
from r1core.rewards import RewardSpec
from r1core.stage_setup import prompt_room
from r1core.stage_table import PREFIX
from r1core.stages.evaluate import Evaluation, evaluate
from r1core.tracking import RunWriter
from r1core.types import SamplingParams

BENCHMARK_SEED = 3 << 32  # added to the recipe's seed: no stage uses these numbers


@dataclass(frozen=True)
class Benchmark:
    """Questions and what grades them, ready to be asked."""

    section: BenchmarkSection
    questions: Questions
    rewards: list[RewardSpec]
    sampling: SamplingParams

    def evaluate(self, policy: Policy, stage: str) -> Evaluation:
        """Ask a policy the questions and grade its answers.

        Returns:
            Its rows, and `benchmark/<name>/<reward>`, `.../mean_length`, `.../num_tokens` (of the
            answers) and `.../runtime` (seconds).
        """
        section, started = self.section, time.perf_counter()
        count = min(section.questions, len(self.questions))
        prompts, columns = self.questions.batch(range(count))
        title = f"{stage}: {section.name}"
        with progress_callback(title, count * section.samples) as on_progress:
            found = evaluate(
                policy,
                prompts,
                columns,
                self.rewards,
                self.sampling,
                on_step=lambda tokens, finished: on_progress(finished, tokens=tokens),
            )
        names = [spec.name for spec in self.rewards] + ["mean_length"]
        metrics = {name: found.metrics[f"eval/{name}"] for name in names}
        metrics["num_tokens"] = float(sum(row["length"] for row in found.rows))
        metrics["runtime"] = time.perf_counter() - started
        named = {f"{PREFIX}{section.name}/{name}": value for name, value in metrics.items()}
        return Evaluation(named, found.rows)


def load_benchmarks(recipe: Recipe, models: RecipeModels) -> list[Benchmark]:
    """Load the questions of a recipe's benchmarks: a wrong setting fails before training."""
    root = models.root("base")
    return [
        Benchmark(
            section,
            load_questions(
                section.data,
                world=models.world,
                tokenizer=root.tokenizer,
                max_prompt_tokens=prompt_room(
                    f"benchmark {section.name!r}", root.max_context, section.max_new_tokens
                ),
            ),
            resolve_rewards(section.rewards, None),
            SamplingParams(
                n=section.samples,
                temperature=section.temperature,
                top_p=section.top_p,
                max_new_tokens=section.max_new_tokens,
                seed=recipe.seed + BENCHMARK_SEED,
            ),
        )
        for section in recipe.benchmark
    ]


def run_benchmarks(
    benchmarks: Sequence[Benchmark], policy: Policy, stage: str, writer: RunWriter
) -> dict[str, float]:
    """Return the metrics of a stage's policy on every benchmark; its answers are written down."""
    metrics: dict[str, float] = {}
    for benchmark in benchmarks:
        found = benchmark.evaluate(policy, stage)
        writer.log_benchmark(stage, benchmark.section.name, found.rows)
        metrics |= found.metrics
    return metrics

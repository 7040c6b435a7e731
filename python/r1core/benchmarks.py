"""The evaluations that every policy of a run goes through: the paper's table of stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from r1core.data import Questions, load_questions
from r1core.models import RecipeModels
from r1core.policy import Policy
from r1core.progress import progress_callback
from r1core.recipe import Recipe
from r1core.recipe_stages import BenchmarkSection
from r1core.reward_sections import resolve_rewards
from r1core.rewards import RewardSpec
from r1core.stages.evaluate import evaluate
from r1core.types import SamplingParams

BENCHMARK_SEED = 3 << 32  # added to the recipe's seed: no stage uses these numbers


@dataclass(frozen=True)
class Benchmark:
    """Questions and what grades them, ready to be asked."""

    section: BenchmarkSection
    questions: Questions
    rewards: list[RewardSpec]
    sampling: SamplingParams

    def evaluate(self, policy: Policy, stage: str) -> dict[str, float]:
        """Return `benchmark/<name>/<reward>` and `benchmark/<name>/mean_length`."""
        section = self.section
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
        return {
            f"benchmark/{section.name}/{name}": found.metrics[f"eval/{name}"]
            for name in names
            if f"eval/{name}" in found.metrics
        }


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
                max_prompt_tokens=None
                if root.max_context is None
                else root.max_context - section.max_new_tokens,
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


def run_benchmarks(benchmarks: Sequence[Benchmark], policy: Policy, stage: str) -> dict[str, float]:
    """Return the metrics of a policy on every benchmark."""
    metrics: dict[str, float] = {}
    for benchmark in benchmarks:
        metrics |= benchmark.evaluate(policy, stage)
    return metrics

"""A stage of reinforcement learning under way: `reasoning_rl`, or `ppo`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from r1core.console import print_completions, print_evaluation, print_summary
from r1core.data import Part, QuestionMixture, prompt_sampler
from r1core.interrupt import Interrupt
from r1core.policy import Policy
from r1core.progress import progress_callback
from r1core.recipe_stages import RLStage
from r1core.rewards import TrainerState
from r1core.stage_run import StageRun
from r1core.stage_setup import StageSetup
from r1core.stages.evaluate import evaluate
from r1core.stages.ppo import ppo
from r1core.stages.ppo_state import PPOState
from r1core.stages.reasoning_rl import Batch, reasoning_rl
from r1core.stages.rl_state import RLState
from r1core.tracking import RunWriter, list_tables, read_table
from r1core.types import SamplingParams, StepStats

EVALUATION_SEED = 1 << 32  # added to the recipe's seed: evaluation never reuses training's numbers


class RLRun(StageRun):
    """A reinforcement-learning stage: its questions, and evaluations by sampling.

    Args:
        setup: its data, rewards and settings.
        policy: what it trains: where it starts, or a checkpoint's.
        writer: of the run.
        interrupt: asked after every step.
    """

    def __init__(
        self, setup: StageSetup, policy: Policy, writer: RunWriter, interrupt: Interrupt
    ) -> None:
        super().__init__(setup.stage, setup.seed, policy, writer, interrupt)
        self.setup = setup
        sampling = replace(self.stage.sampling, seed=setup.seed)
        self.config = self.stage.model_copy(update={"sampling": sampling})
        self.state: RLState = self.first_state()
        self.questions = QuestionMixture(self.parts())

    def first_state(self) -> RLState:
        """Return the state of the stage before its first update."""
        return RLState(self.policy, self.config)

    def parts(self) -> list[Part]:
        """Return the stage's data sets, each with a sampler of its own."""
        stage, setup = self.stage, self.setup
        first = prompt_sampler(setup.questions.rows, stage.data, 1, setup.seed)
        parts = [Part(setup.questions, first, 1.0)]
        for more, found in zip(stage.mixture, setup.mixture, strict=True):
            sampler = prompt_sampler(found.rows, more.data, 1, setup.seed)
            parts.append(Part(found, sampler, more.share, more.from_step))
        return parts

    def updates(self) -> Iterator[StepStats]:
        """Take the steps that are left, one by one."""
        return reasoning_rl(
            self.policy, self.batches(), self.setup.rewards, self.config, self.state
        )

    def batches(self) -> Iterator[Batch]:
        """Yield questions, one at a time: their state says exactly which were used."""
        while True:
            prompt, columns, uid = self.questions.next(self.state.step + 1)
            yield Batch(prompts=[prompt], columns=columns, uids=[uid])

    def position(self) -> dict[str, Any]:
        """Return where the questions stand."""
        return self.questions.state_dict()

    def load_position(self, state: Mapping[str, Any]) -> None:
        """Go on from `position`."""
        self.questions.load_state_dict(state)

    def is_evaluation_due(self, step: int) -> bool:
        """Tell whether to evaluate after a step that is not the last."""
        return bool(step % self.stage.evaluation.every == 0)

    def evaluate(self, step: int) -> dict[str, float]:
        """Evaluate on the held-out questions, log the result and return its metrics."""
        name, held_out = self.stage.name, self.setup.held_out
        started = time.perf_counter()
        count = min(self.stage.evaluation.questions, len(held_out))
        prompts, columns = held_out.batch(range(count))
        sampling = evaluation_sampling(self.stage, step, self.seed)
        with progress_callback(f"{name}: evaluating", count * sampling.n) as on_progress:
            evaluation = evaluate(
                self.policy,
                prompts,
                columns,
                self.setup.rewards,
                sampling,
                on_step=lambda tokens, finished: on_progress(finished, tokens=tokens),
                trainer_state=TrainerState(step, self.config.steps),
            )
        metrics = evaluation.metrics | {"eval/runtime": time.perf_counter() - started}
        self.writer.log_evaluation(name, step, evaluation.rows)
        self.writer.log(name, step, metrics)  # last: with this line it is done
        return metrics

    def show(self, step: int, when: str) -> None:
        """Print the first answer to each question of an evaluation."""
        rows = read_table(list_tables(self.writer.directory, "eval")[self.stage.name][step])
        first = [row for row in rows if row["sample"] == 0]
        print_completions(f"{self.stage.name}: {when}", first)
        if step == 0:
            print_evaluation(f"{self.stage.name}, step 0", self.evaluations()[0])

    def summarise(self) -> None:
        """Print what the stage brought."""
        print_summary(self.evaluations()[0], self.evaluations()[-1])


class PPORun(RLRun):
    """A `ppo` stage: the same around other updates, and a critic in the state."""

    state: PPOState

    def first_state(self) -> PPOState:
        """Return the state of the stage before its first update."""
        return PPOState(self.policy, self.config)

    def updates(self) -> Iterator[StepStats]:
        """Take the steps that are left, one by one."""
        return ppo(self.policy, self.batches(), self.setup.rewards, self.config, self.state)


def evaluation_sampling(stage: RLStage, step: int, seed: int) -> SamplingParams:
    """Return how answers are drawn in the evaluation after a step, to the limit in force."""
    settings = stage.evaluation
    in_force = stage.sampling_at(max(step, 1))
    return replace(
        in_force,  # its stops above all
        n=settings.samples,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=0,
        min_p=0.0,
        max_new_tokens=settings.max_new_tokens or in_force.max_new_tokens,
        seed=seed + EVALUATION_SEED,
    )

"""Which prompts teach: how often the policy solves each.

A group whose completions all score alike has no advantage (equation 3). Prompts that the policy
never or always solves make such groups; they can be left out before training (this file), or as
they turn up (dynamic sampling, DAPO, section 3.2).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from r1core.data import DifficultyFilter, Questions
from r1core.data.questions import fingerprint
from r1core.data.split import prompt_hash
from r1core.policy import Policy
from r1core.rewards import RewardSpec, score_rollouts
from r1core.rewards.spec import RewardFunction
from r1core.sampling import sample_groups
from r1core.stages.pass_rates import PassRates, Tally
from r1core.types import SamplingParams

Progress = Callable[..., object]
"""Called as `on_progress(done, total, kept=...)`, in prompts."""


@dataclass(frozen=True)
class RatedQuestions:
    """What a filter by pass rate leaves.

    Attributes:
        questions: those kept, in their order, with the column "pass_rate".
        pass_rates: of all questions that were given; None where the reward always abstained.
        too_hard: how many were left out with a pass rate of `low` or less.
        too_easy: how many were left out with a pass rate of `high` or more.
        ungraded: how many were left out because the reward always abstained.
    """

    questions: Questions
    pass_rates: Sequence[float | None]
    too_hard: int
    too_easy: int
    ungraded: int

    def summary(self) -> str:
        """Return the counts in one line."""
        reasons = {"too hard": self.too_hard, "too easy": self.too_easy, "ungraded": self.ungraded}
        left_out = ", ".join(f"{count} {why}" for why, count in reasons.items() if count)
        kept = f"{len(self.questions)} of {len(self.pass_rates)} prompts kept by pass rate"
        return f"{kept} ({left_out} left out)" if left_out else kept


def filter_by_pass_rate(
    policy: Policy | None,
    questions: Questions,
    rewards: Sequence[RewardSpec | RewardFunction | str],
    sampling: SamplingParams,
    *,
    k: int = 8,
    low: float = 0.0,
    high: float = 1.0,
    pass_score: float = 1.0,
    questions_per_batch: int = 32,
    known: PassRates | None = None,
    on_progress: Progress | None = None,
) -> RatedQuestions:
    """Keep the questions whose pass rate is between `low` and `high`, both excluded.

    The pass rate is the share of k completions with a score of `pass_score` or more, among those
    on which the reward does not abstain. The reward is the one named "accuracy", or else the first.

    A prompt's random numbers follow from its text and `sampling.seed`: its pass rate does not
    depend on `questions_per_batch`, nor on which other questions there are, or in which order.

    Args:
        policy: where to sample from; None where every question's rate must be known.
        questions: the questions, templated.
        rewards: what grades; see above.
        sampling: its `n` is replaced by k.
        k: completions per prompt; >= 1.
        low: rates kept are above it; below 0 keeps what was never solved.
        high: rates kept are below it; above 1 keeps what was always solved.
        pass_score: the score of a solved question, in units of the reward.
        questions_per_batch: prompts sampled at a time; >= 1.
        known: rates that need no sampling; new ones are added to it after each batch.
        on_progress: called after each batch with prompts done and their total.

    Raises:
        ValueError: a number out of range, no reward, or a question without a rate and no policy.
    """
    if not (k >= 1 and questions_per_batch >= 1 and low < high):
        raise ValueError(
            "filter_by_pass_rate: k and questions_per_batch must be >= 1 and low below high; got "
            f"k={k}, questions_per_batch={questions_per_batch}, low={low}, high={high}"
        )
    grader = correctness(rewards)
    known = PassRates() if known is None else known
    keys = [question_key(questions, index) for index in range(len(questions))]
    missing = [i for key, i in first_of_each(keys).items() if key not in known.tallies]
    if missing and policy is None:
        raise ValueError(
            f"filter_by_pass_rate: policy must be given to rate questions; {len(missing)} of "
            f"{len(keys)} have no rate {known.where()}"
        )
    for start in range(0, len(missing), questions_per_batch):
        assert policy is not None
        batch = missing[start : start + questions_per_batch]
        tallies = rate(policy, questions, batch, grader, replace(sampling, n=k), pass_score)
        known.add({keys[index]: tally for index, tally in zip(batch, tallies, strict=True)})
        if on_progress is not None:
            done = len(keys) - len(missing) + start + len(batch)
            on_progress(done, len(keys), kept=kept_so_far(known, keys, low, high))
    return keep(questions, [known.tallies[key].rate for key in keys], low, high)


def filter_questions(
    policy: Policy | None,
    questions: Questions,
    rewards: Sequence[RewardSpec],
    sampling: SamplingParams,
    config: DifficultyFilter,
    *,
    path: Path,
    on_progress: Progress | None = None,
) -> RatedQuestions:
    """Filter a stage's questions as its recipe says; what `path` holds is not sampled again.

    Args:
        policy: what the stage starts from; None where the stage has begun and its policy is no
            longer the one to rate by: then the file must hold every rate.
        questions: the stage's training questions.
        rewards: the stage's.
        sampling: the stage's, with a seed that neither training nor evaluation uses.
        config: the recipe's `data.pass_rate`.
        path: a file of rates, made if missing, added to after each batch; rates that were drawn
            with other settings are dropped from it.
        on_progress: see `filter_by_pass_rate`.

    Raises:
        ValueError: see `filter_by_pass_rate`.
    """
    sampling = replace(sampling, n=config.k, temperature=config.temperature)
    settings = {
        "reward": correctness(rewards).name,
        "pass_score": config.pass_score,
        "sampling": asdict(sampling),
    }
    return filter_by_pass_rate(
        policy,
        questions,
        rewards,
        sampling,
        k=config.k,
        low=config.low,
        high=config.high,
        pass_score=config.pass_score,
        known=PassRates.open(path, settings),
        on_progress=on_progress,
    )


def correctness(rewards: Sequence[RewardSpec | RewardFunction | str]) -> RewardSpec:
    """Return the reward that says what is correct: "accuracy", or else the first."""
    specs = [RewardSpec.resolve(reward) for reward in rewards]
    if not specs:
        raise ValueError("filter_by_pass_rate: rewards must hold at least one function; got none")
    return next((spec for spec in specs if spec.name == "accuracy"), specs[0])


def question_key(questions: Questions, index: int) -> str:
    """Return a name for a question with all its columns; equal questions have equal names."""
    row = {name: value for name, value in questions.rows[index].items() if name != "pass_rate"}
    line = json.dumps([questions.prompts[index], row], sort_keys=True, default=str)
    return hashlib.sha256(line.encode()).hexdigest()[:24]


def first_of_each(keys: Sequence[str]) -> dict[str, int]:
    """Return key -> the first index that has it."""
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        first.setdefault(key, index)
    return first


def rate(
    policy: Policy,
    questions: Questions,
    indices: Sequence[int],
    grader: RewardSpec,
    sampling: SamplingParams,
    pass_score: float,
) -> list[Tally]:
    """Sample and grade some questions."""
    prompts, columns = questions.batch(indices)
    uids = [prompt_hash(prompt, 0) >> 32 for prompt in prompts]
    rollouts = sample_groups(policy, prompts, sampling, prompt_uids=uids)
    scores_N = score_rollouts(rollouts, [grader], columns).scores[grader.name]
    scores_PG = scores_N.view(len(prompts), sampling.n)
    passed_P = (scores_PG >= pass_score).sum(1).tolist()  # NaN is not
    graded_P = (~scores_PG.isnan()).sum(1).tolist()
    return [Tally(*counts) for counts in zip(passed_P, graded_P, strict=True)]


def keep(
    questions: Questions, rates: Sequence[float | None], low: float, high: float
) -> RatedQuestions:
    """Return the questions whose rate is between the bounds, with the column "pass_rate"."""
    verdicts = [verdict(value, low, high) for value in rates]
    kept = [index for index, said in enumerate(verdicts) if said == "kept"]
    rows = [dict(questions.rows[index]) | {"pass_rate": rates[index]} for index in kept]
    prompts = [questions.prompts[index] for index in kept]
    counts = Counter(verdicts)
    return RatedQuestions(
        questions=replace(
            questions, rows=rows, prompts=prompts, fingerprint=fingerprint(rows, prompts)
        ),
        pass_rates=list(rates),
        too_hard=counts["too hard"],
        too_easy=counts["too easy"],
        ungraded=counts["ungraded"],
    )


def verdict(value: float | None, low: float, high: float) -> str:
    """Return "kept", or why a question with that pass rate is left out."""
    if value is None:
        return "ungraded"
    if value <= low:
        return "too hard"
    return "too easy" if value >= high else "kept"


def kept_so_far(known: PassRates, keys: Sequence[str], low: float, high: float) -> int:
    """Return how many of the questions rated so far are kept."""
    found: Mapping[str, Any] = known.tallies
    rated = (found[key].rate for key in keys if key in found)
    return sum(verdict(value, low, high) == "kept" for value in rated)

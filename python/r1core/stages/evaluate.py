"""Evaluation as the paper does it: pass@1 is the mean over k sampled answers (appendix D.1).

Never greedy: the paper reports that greedy decoding of long reasoning repeats itself and varies
more between checkpoints. Temperature 0.6 and top-p 0.95 are its settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from r1core.policy import Policy
from r1core.rewards import (
    RewardSpec,
    TrainerState,
    choice_reward,
    score_rollouts,
    verify_choice,
    verify_math,
)
from r1core.rewards.functions import gold_text
from r1core.sampling import sample_groups
from r1core.stages.at_k import half_interval, pass_at_k, vote
from r1core.stages.levels import level_metrics, zero_or_one
from r1core.types import Prompt, SamplingParams
from r1core.words import count_reflective_words


class EvaluationConfig(BaseModel):
    """When and how to evaluate.

    Attributes:
        every: optimizer steps between evaluations; the first is before training, the last after it.
        questions: how many questions of the evaluation split.
        samples: k, answers per question (paper: 4 to 64, by benchmark).
        temperature: sampling temperature (paper: 0.6).
        top_p: nucleus mass (paper: 0.95).
        max_new_tokens: completion limit in tokens; None takes the training limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int = Field(10, ge=1)
    questions: int = Field(200, ge=1)
    samples: int = Field(4, ge=1)
    temperature: float = Field(0.6, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int | None = Field(None, ge=1)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        metrics: `eval/...` -> float.
        rows: one per completion, for the completions table: prompt, completion, answer, level,
            sample, accuracy, format, length, and the answer found in it.
    """

    metrics: dict[str, float]
    rows: list[dict[str, Any]]


def evaluate(
    policy: Policy,
    prompts: Sequence[Prompt],
    columns: Mapping[str, list[Any]],
    rewards: Sequence[RewardSpec],
    sampling: SamplingParams,
    on_step: Callable[..., None] | None = None,
    *,
    prompt_uids: Sequence[int] | None = None,
    trainer_state: TrainerState | None = None,
) -> Evaluation:
    """Sample k answers per question and grade them.

    What counts as correct is the reward named "accuracy", or else the first: its mean is pass@1.
    Where it is not always 0 or 1, that mean is `eval/mean_reward` too, and nothing is said of k
    samples together. The other rewards are reported as they are. A completion on which it abstains
    leaves the mean.

    Args:
        policy: the policy to evaluate; not changed.
        prompts: P prompts, templated.
        columns: dataset columns for the rewards, each with P values.
        rewards: what grades the answers.
        sampling: n is k.
        on_step: called by the engine while it decodes.
        prompt_uids: P counters of the random generator; None numbers the prompts from 0.
        trainer_state: what rewards are told of the training; None is step 0.
    """
    rollouts = sample_groups(policy, prompts, sampling, on_step=on_step, prompt_uids=prompt_uids)
    table = score_rollouts(rollouts, rewards, columns, trainer_state=trainer_state)
    texts = rollouts.texts()
    asked = columns.get("prompt", prompts)  # as they were before templating
    lengths = rollouts.lengths_N.tolist()
    scores = {name: scores_N.tolist() for name, scores_N in table.scores.items()}
    correctness = "accuracy" if "accuracy" in scores else next(iter(scores))
    answers = final_answers(texts, columns, sampling.n, is_choice(rewards, correctness))
    rows = []
    for n, text in enumerate(texts):
        p, sample = divmod(n, sampling.n)
        row: dict[str, Any] = {"prompt": asked[p], "completion": text, "sample": sample}
        row |= {key: values[p] for key, values in columns.items() if key in ("answer", "level")}
        row |= {name: values[n] for name, values in scores.items()}
        row["accuracy"] = scores[correctness][n]
        rows.append(row | {"found": answers[n], "length": lengths[n]})
    return Evaluation(summarize(rows, list(scores), sampling.n), rows)


def summarize(
    rows: Sequence[Mapping[str, Any]], rewards: Sequence[str], samples: int
) -> dict[str, float]:
    """Return every metric of an evaluation's rows.

    Args:
        rows: of all questions, the samples of one together.
        rewards: the columns that rewards wrote.
        samples: k, rows per question.
    """
    metrics = evaluation_metrics(rows, rewards, [row["completion"] for row in rows])
    return metrics | metrics_at_k(rows, samples) | level_metrics(rows)


def is_choice(rewards: Sequence[RewardSpec], name: str) -> bool:
    """Tell whether the reward of that name grades letters of options."""
    functions = [spec.function for spec in rewards if spec.name == name]
    return any(getattr(function, "func", function) is choice_reward for function in functions)


def final_answers(
    texts: Sequence[str], columns: Mapping[str, Sequence[Any]], samples: int, choice: bool = False
) -> list[str | None]:
    """Return the final answer in each completion, as written; None where there is none.

    Of a choice, marks around the letter are left out, so that equal choices are equal texts.
    """
    if (golds := columns.get("answer")) is None:
        return [None] * len(texts)
    repeated = [gold_text(golds[n // samples]) for n in range(len(texts))]
    if not choice:
        return [verdict.answer for verdict in verify_math(texts, repeated)]
    listed = columns.get("options", columns.get("choices"))
    options = [listed[n // samples] if listed else None for n in range(len(texts))]
    answers = [verdict.answer for verdict in verify_choice(texts, repeated, options=options)]
    return [answer and answer.strip(" $*().:") for answer in answers]


def metrics_at_k(rows: Sequence[Mapping[str, Any]], samples: int) -> dict[str, float]:
    """Return what the samples of each question say together.

    `eval/pass@k` for powers of two up to their number, `eval/cons@k` (a vote among all of them),
    `eval/pass@1/interval` (half the 95 % interval) and `eval/tokens_per_correct`. Of scores that
    are not all 0 or 1 nothing but the interval: none of them says that an answer is right.
    """
    groups = [rows[first : first + samples] for first in range(0, len(rows), samples)]
    graded = [g for g in groups if all(row["accuracy"] == row["accuracy"] for row in g)]
    if not graded:
        return {}
    means = [finite_mean([row["accuracy"] for row in group]) for group in graded]
    metrics = {"eval/pass@1/interval": half_interval(means)}
    if not zero_or_one(rows):
        return metrics
    correct = [sum(row["accuracy"] == 1 for row in group) for group in graded]
    for k in (2**power for power in range(1, samples.bit_length())):
        metrics[f"eval/pass@{k}"] = sum(pass_at_k(samples, c, k) for c in correct) / len(graded)
    if samples > 2 and any(row["found"] is not None for row in rows):
        chosen = [vote([row["found"] for row in group]) for group in graded]
        right = [
            n is not None and group[n]["accuracy"] == 1
            for n, group in zip(chosen, graded, strict=True)
        ]
        metrics[f"eval/cons@{samples}"] = sum(right) / len(right)
    if sum(correct):
        tokens = sum(row["length"] for group in graded for row in group)
        metrics["eval/tokens_per_correct"] = tokens / sum(correct)
    return metrics


def evaluation_metrics(
    rows: Sequence[Mapping[str, Any]], rewards: Sequence[str], texts: Sequence[str]
) -> dict[str, float]:
    """Return `eval/pass@1`, `eval/<reward>`, `eval/mean_length` and `eval/words/<word>`.

    Words are occurrences per completion. Where scores are not all 0 or 1, `eval/mean_reward` is
    there too and says that `eval/pass@1` is no share but the mean of whatever the reward gives.
    """
    metrics = {f"eval/{name}": finite_mean([row[name] for row in rows]) for name in rewards}
    metrics["eval/pass@1"] = finite_mean([row["accuracy"] for row in rows])
    if not zero_or_one(rows):
        metrics["eval/mean_reward"] = metrics["eval/pass@1"]
    metrics["eval/mean_length"] = finite_mean([row["length"] for row in rows])
    words: Counter[str] = Counter()
    for text in texts:
        words.update(count_reflective_words(text))
    metrics |= {f"eval/words/{word}": count / len(texts) for word, count in words.items()}
    return metrics


def finite_mean(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN; NaN where there is none."""
    finite = [value for value in values if value == value]
    return sum(finite) / len(finite) if finite else float("nan")

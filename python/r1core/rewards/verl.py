"""The verifiers in verl's call shape.

custom_reward_function.path=$(python -c "import r1core.rewards.verl as v; print(v.__file__)")
custom_reward_function.name=compute_score        # with reward_model.reward_manager=naive, dapo
custom_reward_function.name=compute_scores       # with reward_model.reward_manager=batch
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from r1core.rewards.functions import gold_text
from r1core.rewards.verify import Verdict, verify_math

AnswerType = Literal["math", "choice"]

CHOICE_SOURCES = re.compile(
    r"mmlu|gpqa|ai2_arc|arc[-_](easy|challenge)|c-?eval|agieval|hellaswag|logiqa|medmcqa|medqa"
    r"|commonsense_?qa|openbookqa|truthful_?qa",
    re.IGNORECASE,
)
"""Data sources whose answers are letters of options."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    answer_type: AnswerType | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Grade one response; verl's custom_reward_function.

    Args:
        data_source: name of the data; tells options' letters (`CHOICE_SOURCES`) from mathematics.
        solution_str: the response; any characters.
        ground_truth: the gold, text or number; of a list, any one will do.
        extra_info: not used.
        answer_type: "math" or "choice", whatever the data source; verl's
            `+custom_reward_function.reward_kwargs.answer_type=choice`.
        kwargs: not used.

    Returns:
        "score" and "acc", 1.0 or 0.0, never NaN: verl cannot abstain, so a gold that cannot be read
        scores 0 and its "status" is "unparsed_gold" (see `Verdict`); "pred", what was judged.

    Raises:
        ValueError: another `answer_type`, or a response that is no string.
    """
    return compute_scores([data_source], [solution_str], [ground_truth], answer_type=answer_type)[0]


def compute_scores(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[Any],
    extra_infos: Sequence[Mapping[str, Any] | None] | None = None,
    *,
    answer_type: AnswerType | None = None,
    **kwargs: Any,
) -> list[dict[str, Any]]:
    """Grade a batch, for verl's BatchRewardManager; see `compute_score`.

    Args:
        data_sources: N names.
        solution_strs: N responses.
        ground_truths: N golds.
        extra_infos: not used.
        answer_type: for all rows.
        kwargs: not used.

    Returns:
        N dictionaries with the same keys.

    Raises:
        ValueError: as `compute_score`, or not one of each per response.
    """
    if answer_type not in (None, "math", "choice"):
        raise ValueError(
            f"compute_scores: answer_type must be 'math', 'choice' or None; got {answer_type!r}"
        )
    rows: dict[AnswerType, list[tuple[int, str, str]]] = {"math": [], "choice": []}
    batch = zip(data_sources, solution_strs, ground_truths, strict=True)
    for n, (source, solution, truth) in enumerate(batch):
        kind = answer_type or ("choice" if CHOICE_SOURCES.search(str(source)) else "math")
        rows[kind] += [(n, solution, gold) for gold in golds_of(truth)]
    verdicts: list[Verdict | None] = [None] * len(solution_strs)
    for kind, items in rows.items():
        solutions, golds = [solution for _, solution, _ in items], [gold for _, _, gold in items]
        for (n, _, _), verdict in zip(items, verify(kind, solutions, golds), strict=True):
            best = verdicts[n]
            if best is None or (verdict.status == "correct" and best.status != "correct"):
                verdicts[n] = verdict
    return [as_score(verdict or Verdict("unparsed_gold", None)) for verdict in verdicts]


def verify(kind: AnswerType, solutions: Sequence[str], golds: Sequence[str]) -> list[Verdict]:
    """Return one verdict per solution and gold."""
    if kind == "math" or not solutions:
        return verify_math(solutions, golds) if solutions else []
    from r1core.rewards.choice import verify_choice

    return list(verify_choice(solutions, golds))


def golds_of(truth: Any) -> list[str]:
    """Return the golds, of which any one will do, as texts."""
    if hasattr(truth, "tolist"):  # an array, as Parquet files bring them
        truth = truth.tolist()
    return [gold_text(gold) for gold in (truth if isinstance(truth, (list, tuple)) else [truth])]


def as_score(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as verl takes it."""
    score = float(verdict.status == "correct")
    return {"score": score, "acc": score, "status": verdict.status, "pred": verdict.answer or ""}

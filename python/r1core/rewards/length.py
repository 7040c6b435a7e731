"""Rewards on the length of a completion, in tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from r1core.rewards.functions import Completion, accuracy_reward, text_of
from r1core.rewards.math_policy import DEFAULT_POLICY, MathPolicy


def soft_overlong_punishment_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    completion_ids: Sequence[Sequence[int]],
    *,
    max_length: int,
    cache: int,
    **columns: Any,
) -> list[float]:
    """Punish completions that come near the length limit; see `soft_overlong_punishment`."""
    return soft_overlong_punishment([len(ids) for ids in completion_ids], max_length, cache)


def soft_overlong_punishment(lengths: Sequence[int], max_length: int, cache: int) -> list[float]:
    """Score 0 up to `max_length - cache` tokens, falling to -1 at `max_length` (DAPO, eq. 13).

    Args:
        lengths: N lengths in tokens.
        max_length: the length limit in tokens.
        cache: the last so many of these are punished; in [1, max_length].

    Raises:
        ValueError: `cache` is out of range.
    """
    if not 1 <= cache <= max_length:
        raise ValueError(
            f"soft_overlong_punishment: cache must be in [1, {max_length}]; got {cache}"
        )
    free = max_length - cache
    return [0.0 if n <= free else max(-1.0, (free - n) / cache) for n in lengths]


def cosine_length(
    lengths: Sequence[int],
    correct: Sequence[bool],
    *,
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    max_len: int = 1000,
) -> list[float]:
    """Score right answers the higher the shorter, wrong ones the higher the longer.

    Half a cosine from one bound to the other (Yeo et al., "Demystifying Long Chain-of-Thought
    Reasoning"; names and defaults of open-r1's get_cosine_scaled_reward):

        score = far + (near - far) * (1 + cos(pi * min(length, max_len) / max_len)) / 2

    from near = max_value_correct to far = min_value_correct where the answer is right, and from
    near = min_value_wrong to far = max_value_wrong where it is wrong.

    Args:
        lengths: N lengths in tokens; >= 0.
        correct: N verdicts.
        min_value_wrong: score of a wrong answer of no length.
        max_value_wrong: score of a wrong answer of `max_len` or more.
        min_value_correct: score of a right answer of `max_len` or more.
        max_value_correct: score of a right answer of no length.
        max_len: the length at which the scores end; >= 1.

    Returns:
        N scores, each between the two bounds that its verdict has.

    Raises:
        ValueError: `max_len` is out of range, or there is not one verdict per length.

    Note:
        open-r1 counts characters and lets the cosine turn back up beyond `max_len`.
    """
    if max_len < 1:
        raise ValueError(f"cosine_length: max_len must be >= 1; got {max_len}")
    if len(lengths) != len(correct):
        raise ValueError(
            f"cosine_length: correct must be one per length, {len(lengths)}; got {len(correct)}"
        )
    scores = []
    for length, right in zip(lengths, correct, strict=True):
        near, far = (
            (max_value_correct, min_value_correct) if right else (min_value_wrong, max_value_wrong)
        )
        weight = (1 + math.cos(math.pi * min(length, max_len) / max_len)) / 2
        score = weight * near + (1 - weight) * far
        scores.append(min(max(score, min(near, far)), max(near, far)))  # rounding stays inside
    return scores


def cosine_length_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    completion_ids: Sequence[Sequence[int]] | None = None,
    answer: Sequence[Any] | None = None,
    solution: Sequence[Any] | None = None,
    accepted: Sequence[Sequence[str]] | None = None,
    *,
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    max_len: int = 1000,
    policy: MathPolicy | Mapping[str, Any] = DEFAULT_POLICY,
    **columns: Any,
) -> list[float | None]:
    """Score accuracy and length in one; see `cosine_length`.

    Args:
        prompts: not used.
        completions: N replies.
        completion_ids: N sequences of token ids, whose lengths count; without them, words count.
        answer: N golds, as for `accuracy_reward`.
        solution: the same under TRL's name.
        accepted: N lists of right answers, as for `accuracy_reward`.
        min_value_wrong: see `cosine_length`, as for the next four.
        max_value_wrong: score of a long wrong answer.
        min_value_correct: score of a long right answer.
        max_value_correct: score of a short right answer.
        max_len: in tokens.
        policy: as for `accuracy_reward`.
        columns: not used.

    Returns:
        N scores; None where the gold cannot be read.

    Raises:
        ValueError: there is no column of golds, or `max_len` is out of range.
    """
    verdicts = accuracy_reward(
        prompts,
        completions,
        answer=answer,
        solution=solution,
        accepted=accepted,
        policy=policy,
        **columns,
    )
    if completion_ids is not None:
        lengths = [len(ids) for ids in completion_ids]
    else:
        lengths = [len(text_of(completion).split()) for completion in completions]
    scores = cosine_length(
        lengths,
        [verdict == 1 for verdict in verdicts],
        min_value_wrong=min_value_wrong,
        max_value_wrong=max_value_wrong,
        min_value_correct=min_value_correct,
        max_value_correct=max_value_correct,
        max_len=max_len,
    )
    return [
        None if verdict is None else score for verdict, score in zip(verdicts, scores, strict=True)
    ]

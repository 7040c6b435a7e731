"""What k samples of a question say: pass@k, a majority vote, and how sure the mean is.

DeepSeek-R1, appendix D.1: pass@1 is the mean over k samples; cons@64 votes among 64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from r1core.rewards import math_equal


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Return the chance that one of k samples is right, drawn without replacement.

    The unbiased estimator 1 - C(n - c, k) / C(n, k) of Chen et al. 2021 (arXiv 2107.03374).

    Args:
        samples: n, answers to a question; >= k.
        correct: c, right ones among them; 0 to n.
        k: >= 1.

    Raises:
        ValueError: a number is out of range.
    """
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        raise ValueError(
            "pass_at_k: 1 <= k <= samples and 0 <= correct <= samples must hold; got "
            f"k {k}, samples {samples}, correct {correct}"
        )
    if samples - correct < k:
        return 1.0
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def vote(answers: Sequence[str | None]) -> int | None:
    """Return the first of the answers that most others equal, as mathematics; ties to the earlier.

    Args:
        answers: to one question; None where a sample gave none, which does not vote.

    Returns:
        Its index; None where there is no answer at all.
    """
    leaders: list[int] = []
    votes: list[int] = []
    for index, answer in enumerate(answers):
        if answer is None:
            continue
        for place, leader in enumerate(leaders):
            if answer == answers[leader] or agree(answer, str(answers[leader])):
                votes[place] += 1
                break
        else:
            leaders.append(index)
            votes.append(1)
    if not votes:
        return None
    return leaders[votes.index(max(votes))]


def agree(a: str, b: str) -> bool:
    """Tell whether two answers are the same."""
    return math_equal(a, b).status == "correct"


def half_interval(means: Sequence[float]) -> float:
    """Return half the 95 % interval of the mean over questions, by their spread (normal).

    Samples of one question are not independent; its mean over the samples is what counts here.
    """
    if len(means) < 2:
        return math.nan
    mean = sum(means) / len(means)
    variance = sum((x - mean) ** 2 for x in means) / (len(means) - 1)
    return 1.959964 * math.sqrt(variance / len(means))

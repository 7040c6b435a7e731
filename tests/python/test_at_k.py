"""pass@k, the majority vote and the interval of an evaluation."""

import math
from itertools import combinations

import pytest

from r1core.stages.at_k import half_interval, pass_at_k, vote
from r1core.stages.evaluate import metrics_at_k


@pytest.mark.parametrize(("samples", "correct"), [(5, 0), (5, 1), (6, 3), (4, 4)])
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(samples, correct):
    answers = [True] * correct + [False] * (samples - correct)
    for k in range(1, samples + 1):
        draws = list(combinations(answers, k))
        expected = sum(any(draw) for draw in draws) / len(draws)
        assert pass_at_k(samples, correct, k) == pytest.approx(expected)


@pytest.mark.parametrize("arguments", [(4, 2, 0), (4, 2, 5), (4, 5, 1), (4, -1, 1)])
def test_pass_at_k_names_what_is_out_of_range(arguments):
    with pytest.raises(ValueError, match="pass_at_k: 1 <= k <= samples"):
        pass_at_k(*arguments)


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        (["3", "1/2", "0.5", "3", "\\frac{2}{4}"], 1),  # one value, written in three ways
        (["7", "8"], 0),  # a tie goes to the earlier
        ([None, "4", None], 1),  # who gives none does not vote
        ([None, None], None),
        (["x+1", "y", "1+x"], 0),
    ],
)
def test_a_vote_is_by_mathematical_equality(answers, winner):
    assert vote(answers) == winner


def test_the_interval_covers_the_truth_as_often_as_it_says():
    import random

    generator = random.Random(0)
    covered = 0
    for _ in range(400):
        means = [sum(generator.random() < 0.3 for _ in range(4)) / 4 for _ in range(100)]
        covered += abs(sum(means) / 100 - 0.3) <= half_interval(means)
    assert 0.92 <= covered / 400 <= 0.98
    assert math.isnan(half_interval([0.5]))


def rows_of(*groups):
    return [
        {"accuracy": float(right), "found": found, "length": 10}
        for group in groups
        for right, found in group
    ]


def test_an_evaluation_says_what_k_samples_say_together():
    rows = rows_of(
        [(1, "4"), (1, "8/2"), (0, "5"), (0, "6")],
        [(1, "4"), (0, "5"), (0, "5.0"), (0, None)],
    )
    metrics = metrics_at_k(rows, 4)
    assert metrics["eval/cons@4"] == 0.5
    assert metrics["eval/pass@2"] == pytest.approx((5 / 6 + 3 / 6) / 2)
    assert metrics["eval/pass@4"] == 1.0
    assert metrics["eval/tokens_per_correct"] == pytest.approx(80 / 3)
    assert "eval/pass@1/interval" in metrics


def test_questions_that_nobody_graded_are_left_out():
    rows = rows_of([(1, "4"), (1, "4")], [(math.nan, "4"), (1, "4")])
    assert metrics_at_k(rows, 2)["eval/pass@2"] == 1.0
    assert metrics_at_k(rows[2:], 2) == {}

"""An evaluation whose reward is not 0 or 1: a mean is no share, and nothing counts as right."""

import io
import math

import pytest
from rich.console import Console

from r1core.evaluation.compare import compare_results, print_comparison
from r1core.evaluation.run import Result
from r1core.evaluation.table import print_result
from r1core.panels import reinforcement_panels
from r1core.progress import metric_parts
from r1core.report import overview
from r1core.report_data import StageRecord, headline
from r1core.stages.evaluate import summarize

MANIFEST = {
    "questions": {"set": "x", "count": 2, "fingerprint": "f"},
    "sampling": {"n": 2},
    "template": {"name": "none"},
    "grader": {"rewards": ["length"]},
}


def rows_of(*scores):
    return [
        {
            "question": f"q{n // 2}",
            "accuracy": score,
            "length": 4,
            "level": 1,
            "found": "7",
            "completion": "wait",
            "score": score,
        }
        for n, score in enumerate(scores)
    ]


def shown(function, *arguments):
    console = Console(file=io.StringIO(), width=120)
    function(*arguments, console)
    return console.file.getvalue()


LONG = summarize(rows_of(28.0, 30.0, 26.0, math.nan), ["score"], 2)
RIGHT = summarize(rows_of(1.0, 0.0, 1.0, 1.0), ["score"], 2)


def test_scores_beyond_0_and_1_have_a_mean_and_nothing_at_k():
    assert LONG["eval/mean_reward"] == LONG["eval/pass@1"] == 28
    assert not [name for name in LONG if name in ("eval/pass@2", "eval/tokens_per_correct")]
    assert "eval/mean_length_wrong" not in LONG
    assert "eval/mean_reward" not in RIGHT and RIGHT["eval/pass@2"] == 1
    assert RIGHT["eval/pass@1/interval"] == pytest.approx(1.959964 * 0.25)


def test_no_display_takes_their_mean_for_a_share():
    text = shown(print_result, Result(LONG, [], MANIFEST))
    assert "mean reward" in text and "28.000" in text and "%" not in text and "pass@" not in text
    assert "pass@1" in shown(print_result, Result(RIGHT, [], MANIFEST))
    assert headline(LONG)["mean reward"] == 28 and "pass@1" not in headline(LONG)
    assert metric_parts(LONG) == ["mean reward 28.00"]
    text = overview([StageRecord("zero", {0: LONG})])[0]
    assert "mean reward" in text and "28.000" in text
    assert "mean reward" not in overview([StageRecord("zero", {0: RIGHT})])[0]
    accuracy, reward = reinforcement_panels(StageRecord("zero", {0: LONG}))[:2]
    assert not accuracy.lines and reward.lines[-1].metric == "eval/pass@1"


def test_two_such_evaluations_are_compared_without_per_cents():
    a, b = (Result({}, rows_of(*scores), MANIFEST) for scores in ((28, 30, 1, 1), (29, 31, 1, 0)))
    text = shown(print_comparison, compare_results(a, b))
    assert "mean reward over the 2 questions of both: A 15.000, B 15.250" in text
    assert "%;" not in text and "[-" in text

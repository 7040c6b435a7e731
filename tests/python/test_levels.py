"""What an evaluation says by difficulty."""

import math

import pytest

from r1core.level_plot import draw_levels
from r1core.stages.evaluate import final_answers, summarize
from r1core.stages.levels import level_metrics, rows_by_level


def row(level, accuracy, length):
    return {"level": level, "accuracy": accuracy, "length": length}


ROWS = [row(10, 1.0, 8), row(10, 0.0, 20), row(2, 1.0, 4), row(2, math.nan, 100), row(None, 1.0, 6)]


def test_each_level_has_its_accuracy_and_its_length():
    assert level_metrics(ROWS) == {
        "eval/level/2/pass@1": 1.0,
        "eval/level/2/mean_length": 52.0,  # what was not graded has a length all the same
        "eval/level/10/pass@1": 0.5,
        "eval/level/10/mean_length": 14.0,
        "eval/mean_length_correct": 6.0,
        "eval/mean_length_wrong": 20.0,
    }


def test_levels_ascend_numbers_first():
    assert list(rows_by_level([row(x, 1, 1) for x in ("b", 10, 2, "a")])) == [2, 10, "a", "b"]


def test_rows_without_levels_have_lengths_only():
    assert level_metrics([row(None, 1.0, 3)]) == {"eval/mean_length_correct": 3.0}


def test_a_column_with_a_value_per_row_is_no_level():
    assert not [k for k in level_metrics([row(n, 1, 1) for n in range(21)]) if "level" in k]


def test_levels_are_among_the_metrics_of_an_evaluation():
    rows = [x | {"completion": "wait", "found": "1"} for x in ROWS[:4]]
    metrics = summarize(rows, ["accuracy"], 2)
    assert metrics["eval/level/10/pass@1"] == 0.5
    assert metrics["eval/pass@1"] == pytest.approx(2 / 3)
    assert metrics["eval/words/wait"] == 1


def test_the_picture_has_a_point_per_level_and_needs_two():
    left, right = draw_levels(ROWS).axes
    lengths = {line.get_label(): list(line.get_ydata()) for line in left.get_lines()}
    assert lengths["all"] == [52.0, 14.0] and lengths["right"] == [4.0, 8.0]
    assert math.isnan(lengths["wrong"][0]) and lengths["wrong"][1] == 20.0
    assert list(right.get_lines()[0].get_ydata()) == [1.0, 0.5]
    assert draw_levels(ROWS[:2]) is None


def test_letters_written_in_different_ways_are_one_answer():
    texts = ["Answer: B", "Answer: $B$", "**Answer: B**", "The answer is (C)."]
    columns = {"answer": ["B"], "options": [["p", "q", "r", "s"]]}
    assert final_answers(texts, columns, 4, choice=True) == ["B", "B", "B", "C"]

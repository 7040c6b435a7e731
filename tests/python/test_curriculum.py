"""The order of training questions: shuffled, as given, or from easy to hard."""

import json

import pytest
from pydantic import ValidationError

from r1core.data import DataSpec, PromptSampler, load_questions, prompt_sampler

LEVELS = [3, 1, 2, 1, 3, 2, 1, 2]


def rows(levels, column="level"):
    return [{"prompt": f"q{n}", "answer": "1", column: level} for n, level in enumerate(levels)]


def spec(**settings):
    return DataSpec(path="a.jsonl", **settings)


def deal(sampler, count):
    return [index for _ in range(count) for index in sampler.next()[0]]


def test_easy_questions_come_first_in_every_epoch():
    sampler = prompt_sampler(rows(LEVELS), spec(order="easy_first", order_by="level"), 4, seed=0)
    epochs = [deal(sampler, 2) for _ in range(3)]
    for dealt in epochs:
        assert sorted(dealt) == list(range(8))
        assert [LEVELS[index] for index in dealt] == sorted(LEVELS)
    assert len({tuple(dealt) for dealt in epochs}) > 1  # equals are shuffled anew


def test_the_seed_shuffles_questions_of_equal_difficulty_only():
    settings = spec(order="easy_first", order_by="level")
    one, same, other = (prompt_sampler(rows([0] * 50), settings, 50, seed) for seed in (1, 1, 2))
    dealt = deal(one, 1)
    assert dealt == deal(same, 1) != deal(other, 1)
    assert dealt == deal(PromptSampler(50, 50, seed=1), 1)  # as without a curriculum


@pytest.mark.parametrize("order_by", ["-solved", "pass_rate", "-pass_rate"])
def test_a_rate_that_is_high_for_easy_questions_counts_down(order_by):
    column = order_by.removeprefix("-")
    data = rows([0.1, 0.9, 0.5], column)
    sampler = prompt_sampler(data, spec(order="easy_first", order_by=order_by), 3, seed=0)
    assert deal(sampler, 1) == [1, 2, 0]


def test_text_with_one_number_is_that_number():
    levels = ["Level 5", "Level 1", "10", "-2.5", 3, 1e-1, True]
    settings = spec(order="easy_first", order_by="level")
    assert deal(prompt_sampler(rows(levels), settings, 7, seed=0), 1) in (
        [3, 5, 1, 6, 4, 0, 2],
        [3, 5, 6, 1, 4, 0, 2],  # True is 1
    )


@pytest.mark.parametrize("value", ["hard", "1 of 2", "", None, float("nan"), [1]])
def test_what_is_no_number_is_named_with_its_prompt(value):
    settings = spec(order="easy_first", order_by="level")
    with pytest.raises(ValueError, match=r"must name a column of numbers; got 'level', .*'q1'"):
        prompt_sampler(rows([1, value]), settings, 1, seed=0)


def test_a_missing_column_is_told_what_there_is_when_the_data_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(LEVELS)))
    settings = {"path": str(path), "order": "easy_first"}
    message = r"order_by must name a column of the data; got 'difficulty', there is level, prompt"
    with pytest.raises(ValueError, match=message):
        load_questions(DataSpec(order_by="difficulty", **settings))
    with pytest.raises(ValueError, match="got 'pass_rate', there is"):
        load_questions(DataSpec(order_by="pass_rate", **settings))
    later = DataSpec(order_by="pass_rate", pass_rate={}, **settings)  # the filter adds the column
    assert len(load_questions(later)) == 8
    mapped = DataSpec(order_by="difficulty", columns={"difficulty": "level"}, **settings)
    assert len(load_questions(mapped)) == 8


def test_given_and_shuffled_orders():
    assert deal(prompt_sampler(rows(LEVELS), spec(order="given"), 4, seed=0), 4) == [*range(8)] * 2
    shuffled = prompt_sampler(rows(LEVELS), spec(), 4, seed=0)
    assert deal(shuffled, 4) == deal(PromptSampler(8, 4, seed=0), 4)


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 11])
def test_a_curriculum_goes_on_where_it_was(steps):
    settings = spec(order="easy_first", order_by="level")
    sampler = prompt_sampler(rows(LEVELS), settings, 3, seed=5)
    for _ in range(steps):
        sampler.next()
    resumed = prompt_sampler(rows(LEVELS), settings, 3, seed=5)
    resumed.load_state_dict(json.loads(json.dumps(sampler.state_dict())))
    assert [resumed.next() for _ in range(7)] == [sampler.next() for _ in range(7)]


def test_uids_do_not_depend_on_the_order():
    settings = spec(order="easy_first", order_by="level")
    easy, plain = prompt_sampler(rows(LEVELS), settings, 3, 0), PromptSampler(8, 3, 0)
    assert [easy.next()[1] for _ in range(5)] == [plain.next()[1] for _ in range(5)]


@pytest.mark.parametrize("wrong", [{"order": "easy_first"}, {"order_by": "level"}])
def test_the_order_and_its_column_go_together(wrong):
    with pytest.raises(ValidationError, match="order = 'easy_first' and order_by, a column, go"):
        spec(**wrong)


def test_every_question_needs_a_difficulty():
    with pytest.raises(ValueError, match="difficulty must have one number per question, 3; got 2"):
        PromptSampler(3, 1, seed=0, difficulty=[1.0, 2.0])

"""Holding prompts out of a single file: by a hash, so that a prompt stays on its side."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from r1core.data import DataSpec, load_questions
from r1core.data.split import prompt_hash, rows_of_part

ROWS = [{"prompt": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(400)]
FRACTION = {"eval_fraction": 0.1}


def parts(rows, **split):
    """Return the prompts of both sides."""
    sides = []
    for part in ("train", "eval"):
        indices = rows_of_part(rows, DataSpec(path="a.jsonl", part=part, **split))
        sides.append([rows[index]["prompt"] for index in indices])
    return sides


def test_a_fraction_is_held_out_of_a_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    spec = DataSpec(path=str(path), **FRACTION)
    train, held_out = load_questions(spec), load_questions(spec.held_out(limit=3))
    assert sorted(train.prompts + held_out.prompts) == sorted(row["prompt"] for row in ROWS)
    assert train.prompts == [row["prompt"] for row in ROWS if row["prompt"] in set(train.prompts)]
    assert 22 <= len(held_out) <= 62  # 40 expected; 3.5 standard deviations of 6 and a little
    assert train.fingerprint != held_out.fingerprint


def test_reordering_and_appending_move_no_prompt():
    train, held_out = parts(ROWS, **FRACTION)
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    more = [{"prompt": f"And {n}?"} for n in range(400)]
    for rows in (shuffled, [*more, *ROWS], ROWS[:200]):
        other_train, other_held_out = parts(rows, **FRACTION)
        assert not set(train) & set(other_held_out)
        assert not set(held_out) & set(other_train)
    assert parts(shuffled, **FRACTION)[1] == held_out  # in the same order, too


@settings(deadline=None, max_examples=40)
@given(
    prompts=st.lists(st.sampled_from([f"q{n}" for n in range(30)]), max_size=60),
    seed=st.integers(0, 9),
    split=st.sampled_from([{"eval_fraction": 0.5}, {"eval_size": 3}]),
)
def test_equal_prompts_are_never_on_both_sides(prompts, seed, split):
    prompts = [*prompts, *(f"q{n}" for n in range(30))]  # neither side can be empty
    train, held_out = parts([{"prompt": p} for p in prompts], split_seed=seed, **split)
    assert not set(train) & set(held_out)
    assert sorted(train + held_out) == sorted(prompts)
    if "eval_size" in split:
        assert len(set(held_out)) == 3


def test_white_space_makes_no_new_prompt_and_messages_have_a_hash():
    assert prompt_hash("What is\n 2? ", 0) == prompt_hash("What is 2?", 0)
    assert prompt_hash("What is 2?", 0) != prompt_hash("What is 2?", 1)
    one, other = ([{"role": "user", "content": text}] for text in ("1", "2"))
    assert prompt_hash(one, 0) == prompt_hash(json.loads(json.dumps(one)), 0)
    assert prompt_hash(one, 0) != prompt_hash(other, 0)


def test_the_split_never_changes():
    """A new release that held other prompts out would evaluate on what a run has trained on."""
    assert prompt_hash("What is 2?", 0) == 0xEEF92E5AD9A3E433
    assert parts(ROWS, eval_size=2)[1] == ["What is 155 + 1?", "What is 399 + 1?"]


def test_a_seed_holds_out_other_prompts():
    assert parts(ROWS, **FRACTION)[1] != parts(ROWS, split_seed=1, **FRACTION)[1]


def test_the_first_of_the_held_out_are_no_worse_a_sample_than_all():
    """Rows sorted by difficulty: the first few of the held out come from the whole file."""
    _, held_out = parts(ROWS, eval_size=100)
    first = [int(prompt.split()[2]) for prompt in held_out[:40]]
    assert abs(sum(first) / 40 - 200) < 4 * 400 / (12 * 40) ** 0.5


@pytest.mark.parametrize(
    "split, message",
    [
        ({"eval_fraction": 0.001}, "eval_fraction must leave .* got 0.001, which holds out 0 of"),
        ({"eval_size": 5}, "eval_size must leave .* got 5, which holds out 5 of the 5 different"),
        ({"eval_size": 9}, "got 9, which holds out 5 of the 5 different prompts of a.jsonl"),
    ],
)
def test_both_sides_must_have_prompts(split, message):
    with pytest.raises(ValueError, match=message):
        parts(ROWS[:5], **split)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"eval_fraction": 0.1, "eval_size": 2}, "one of eval_fraction and eval_size"),
        ({"part": "eval"}, "part = 'eval' needs eval_fraction or eval_size"),
        ({"eval_fraction": 1.0}, "less than 1"),
        ({"path": None, "world": "sum_chain", "eval_size": 2}, "a world has its own split"),
    ],
)
def test_settings_that_do_not_go_together(wrong, message):
    with pytest.raises(ValidationError, match=message):
        DataSpec(**{"path": "a.jsonl"} | wrong)


def test_where_the_held_out_questions_come_from(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    world = DataSpec(world="sum_chain").held_out(7)
    assert (world.split, world.limit, world.part) == ("eval", 7, "train")
    folder = DataSpec(path=str(tmp_path), limit=2, order="easy_first", order_by="level")
    held_out = folder.held_out(7)
    assert (held_out.split, held_out.limit, held_out.order) == ("test", 7, "shuffled")
    assert held_out.order_by is None
    split = DataSpec(path=str(tmp_path), limit=9, pass_rate={"k": 4}, **FRACTION).held_out(7)
    assert (split.split, split.limit, split.part) == ("train", 9, "eval")
    assert split.pass_rate is None
    for path in ("a.jsonl", "*.jsonl"):
        with pytest.raises(ValueError, match="evaluation_data must be given where data is a sing"):
            DataSpec(path=f"{tmp_path}/{path}").held_out(7)

"""Filtering prompts by how often the policy solves them."""

import itertools
import json
from dataclasses import replace

import pytest
from models import qwen3_policy
from pydantic import ValidationError

from r1core.data import DataSpec, DifficultyFilter, Questions, prompt_sampler
from r1core.stages.difficulty import (
    correctness,
    filter_by_pass_rate,
    filter_questions,
    question_key,
)
from r1core.stages.pass_rates import PassRates, Tally
from r1core.types import SamplingParams

SAMPLING = SamplingParams(max_new_tokens=3, seed=7)
KINDS = ["never", "always", "sometimes", "ungraded", "sometimes", "sometimes", "sometimes"]


@pytest.fixture(scope="module")
def policy():
    return qwen3_policy()


class Counting:
    """A policy that counts the prompts it is asked to continue."""

    def __init__(self, policy, fail_after=None):
        self.policy, self.asked, self.fail_after = policy, 0, fail_after

    def __getattr__(self, name):
        return getattr(self.policy, name)

    def generate(self, tokens, *arguments, **options):
        if self.fail_after is not None and self.asked >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += len(tokens)
        return self.policy.generate(tokens, *arguments, **options)


def accuracy(completion_ids, kind):
    """Score by the column: 0, 1, by chance, or None."""
    by_chance = [float(sum(ids) % 3 == 0) for ids in completion_ids]
    fixed = {"never": 0.0, "always": 1.0, "ungraded": None}
    return [fixed.get(k, chance) for k, chance in zip(kind, by_chance, strict=True)]


def ask(kinds=KINDS):
    """Return questions on token ids, each with a prompt of its own."""
    rows = [{"prompt": [5, n, 9], "answer": "1", "kind": kind} for n, kind in enumerate(kinds)]
    return Questions(rows, [row["prompt"] for row in rows], 2, "")


def by_prompt(questions, rated):
    return {str(p): value for p, value in zip(questions.prompts, rated.pass_rates, strict=True)}


def test_prompts_that_teach_nothing_are_left_out(policy):
    questions = ask()
    rated = filter_by_pass_rate(policy, questions, [accuracy], SAMPLING, k=16)
    assert rated.pass_rates[:2] == [0.0, 1.0] and rated.pass_rates[3] is None
    assert (rated.too_hard, rated.too_easy, rated.ungraded) == (1, 1, 1)
    assert rated.questions.prompts == [questions.prompts[i] for i in (2, 4, 5, 6)]
    rates = [row["pass_rate"] for row in rated.questions.rows]
    assert rates == [rated.pass_rates[i] for i in (2, 4, 5, 6)]
    assert all(0 < value < 1 and value * 16 == int(value * 16) for value in rates)
    assert len(set(rates)) > 1
    assert rated.questions.dropped == questions.dropped
    assert "pass_rate" not in questions.rows[2]
    assert rated.summary() == (
        "4 of 7 prompts kept by pass rate (1 too hard, 1 too easy, 1 ungraded left out)"
    )


def test_the_rate_is_that_of_the_completions(policy):
    """Graded here by the same rule, on completions that the reward saw."""
    seen = []

    def spy(completion_ids, kind):
        seen.extend(completion_ids)
        return accuracy(completion_ids, kind)

    rated = filter_by_pass_rate(policy, ask(["sometimes"]), [spy], SAMPLING, k=16)
    assert len(seen) == 16 and len({tuple(ids) for ids in seen}) > 8
    assert rated.pass_rates == [sum(sum(ids) % 3 == 0 for ids in seen) / 16]


def test_rates_depend_on_the_prompt_and_the_seed_alone(policy):
    questions = ask(["sometimes"] * 9)
    expected = by_prompt(questions, filter_by_pass_rate(policy, questions, [accuracy], SAMPLING))
    for batch, step in ((1, 1), (4, -1), (5, 2)):
        some = Questions(questions.rows[::step], questions.prompts[::step], 0, "")
        rated = filter_by_pass_rate(policy, some, [accuracy], SAMPLING, questions_per_batch=batch)
        assert by_prompt(some, rated).items() <= expected.items()
    other = SamplingParams(max_new_tokens=3, seed=8)
    assert by_prompt(questions, filter_by_pass_rate(policy, questions, [accuracy], other)) != (
        expected
    )


def test_bounds_are_left_out(policy):
    questions = ask(["never", "always", *["sometimes"] * 12])
    rates = filter_by_pass_rate(policy, questions, [accuracy], SAMPLING, k=4).pass_rates
    assert {0.25, 0.5} <= set(rates)

    def kept(**bounds):
        rated = filter_by_pass_rate(policy, questions, [accuracy], SAMPLING, k=4, **bounds)
        return sorted(row["pass_rate"] for row in rated.questions.rows)

    assert kept(low=0.25) == sorted(value for value in rates if 0.25 < value < 1)
    assert kept(high=0.5) == sorted(value for value in rates if 0 < value < 0.5)
    assert kept(low=-1, high=2) == sorted(rates)


def test_what_counts_as_solved(policy):
    def signs(completion_ids, kind):
        return [2 * (score or 0) - 1 for score in accuracy(completion_ids, kind)]

    def halves(completion_ids, kind):
        return [(score or 0) / 2 for score in accuracy(completion_ids, kind)]

    questions = ask(["sometimes"] * 4)

    def rates(reward, **options):
        return filter_by_pass_rate(policy, questions, [reward], SAMPLING, **options).pass_rates

    expected = rates(accuracy)
    assert rates(signs) == rates(halves, pass_score=0.5) == expected
    assert rates(halves) == [0.0] * 4
    assert rates(signs, pass_score=-1) == [1.0] * 4


def test_the_reward_named_accuracy_decides_or_else_the_first():
    def other(completion_ids):
        raise AssertionError("it is not asked")

    assert correctness([other, accuracy]).function is accuracy
    assert correctness([other]).function is other
    with pytest.raises(ValueError, match="rewards must hold at least one function"):
        correctness([])


def test_abstaining_on_some_completions_leaves_the_others(policy):
    def only_even(completion_ids):
        return [1.0 if i < 3 else None if i < 6 else 0.0 for i in range(len(completion_ids))]

    rated = filter_by_pass_rate(policy, ask(["-"]), [only_even], SAMPLING, k=8)
    assert rated.pass_rates == [3 / 5]


def test_progress_is_told_after_every_batch(policy):
    calls = []
    filter_by_pass_rate(
        policy,
        ask(),
        [accuracy],
        SAMPLING,
        k=16,
        questions_per_batch=3,
        on_progress=lambda done, total, kept: calls.append((done, total, kept)),
    )
    assert calls == [(3, 7, 1), (6, 7, 3), (7, 7, 4)]


def test_equal_questions_are_sampled_once(policy):
    counting = Counting(policy)
    questions = ask(["sometimes"] * 3)
    doubled = Questions([*questions.rows] * 2, [*questions.prompts] * 2, 0, "")
    rates = filter_by_pass_rate(counting, doubled, [accuracy], SAMPLING).pass_rates
    assert counting.asked == 3
    assert rates[:3] == rates[3:]


def filtered(policy, path, questions=None, **settings):
    config = DifficultyFilter(**{"k": 4} | settings)
    return filter_questions(
        policy, questions or ask(), [accuracy_spec()], SAMPLING, config, path=path
    )


def accuracy_spec():
    return correctness([accuracy])


def test_what_is_in_the_file_is_not_sampled_again(policy, tmp_path):
    path = tmp_path / "rates" / "zero.jsonl"
    first = filtered(policy, path)
    counting = Counting(policy)
    again = filtered(counting, path)
    assert counting.asked == 0
    assert again.pass_rates == first.pass_rates
    assert again.questions.fingerprint == first.questions.fingerprint
    assert filtered(None, path).pass_rates == first.pass_rates  # a resumed run needs no policy
    wider = filtered(counting, path, low=-1.0)  # bounds are no part of what was drawn
    assert counting.asked == 0 and len(wider.questions) > len(first.questions)
    more = filtered(counting, path, ask([*KINDS, "sometimes"]))
    assert counting.asked == 1 and more.pass_rates[:-1] == first.pass_rates


def test_other_settings_or_columns_are_sampled_anew(policy, tmp_path):
    path = tmp_path / "zero.jsonl"
    found = filtered(policy, path).pass_rates
    for settings in ({"k": 5}, {"temperature": 0.01}, {"pass_score": 0.5}):
        filtered(policy, path)
        counting = Counting(policy)
        rates = filtered(counting, path, **settings).pass_rates
        assert counting.asked == 7
        assert (rates == found) == ("pass_score" in settings)  # 0.5 tells 0 from 1 as 1 does
    counting = Counting(policy)
    filtered(counting, path, ask(["always", *KINDS[1:]]), pass_score=0.5)
    assert counting.asked == 1


@pytest.mark.parametrize("torn", ["", '["0a1b', "\x00\x00"])
def test_a_killed_filter_goes_on_where_it_was(policy, tmp_path, torn):
    path, whole = tmp_path / "zero.jsonl", tmp_path / "whole.jsonl"
    questions = ask(["sometimes"] * 70)
    expected = filtered(policy, whole, questions).pass_rates
    with pytest.raises(KeyboardInterrupt):
        filtered(Counting(policy, fail_after=32), path, questions)
    with path.open("a") as file:
        file.write(torn)
    with pytest.raises(
        ValueError, match=r"policy must be given .*; 38 of 70 have no rate in .*zer"
    ):
        filtered(None, path, questions)
    counting = Counting(policy)
    assert filtered(counting, path, questions).pass_rates == expected
    assert counting.asked == 38
    assert path.read_bytes() == whole.read_bytes()


def test_a_file_of_something_else_is_begun_anew(policy, tmp_path):
    path = tmp_path / "zero.jsonl"
    for content in (b"", b"\xff\xfe", b'{"a": 1}\n["b", 1, 2]\n'):
        path.write_bytes(content)
        assert PassRates.open(path, {"k": 4}).tallies == {}
        PassRates.open(path, {"k": 4}).add({"a": Tally(1, 4), "b": Tally(0, 0)})
        assert PassRates.open(path, {"k": 4}).tallies == {"a": Tally(1, 4), "b": Tally(0, 0)}
    assert [json.loads(text) for text in path.read_text().splitlines()][0] == {"k": 4}


def test_the_pass_rate_makes_a_curriculum(policy):
    rated = filter_by_pass_rate(policy, ask(["sometimes"] * 12), [accuracy], SAMPLING, k=8)
    spec = DataSpec(path="a.jsonl", pass_rate={}, order="easy_first", order_by="pass_rate")
    rows = rated.questions.rows
    dealt, _ = prompt_sampler(rows, spec, len(rows), seed=0).next()
    rates = [rows[index]["pass_rate"] for index in dealt]
    assert rates == sorted(rates, reverse=True) and len(set(rates)) > 1


@pytest.mark.parametrize(
    "options", [{"k": 0}, {"low": 0.5, "high": 0.5}, {"questions_per_batch": 0}]
)
def test_numbers_out_of_range(policy, options):
    [(name, value), *_] = options.items()
    with pytest.raises(ValueError, match=f"filter_by_pass_rate: .*{name}={value}"):
        filter_by_pass_rate(policy, ask(), [accuracy], SAMPLING, **options)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"k": 1}, "greater than or equal to 2"),
        ({"low": 0.6, "high": 0.5}, "low must be below high; got 0.6 and 0.5"),
        ({"samples": 4}, "Extra inputs"),
    ],
)
def test_a_filter_that_could_keep_nothing_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        DataSpec(path="a.jsonl", pass_rate=wrong)


def test_every_part_of_the_question_names_it():
    base = {"prompt": [1], "answer": "1", "kind": "never"}
    rows = [base, base | {"answer": "2"}, base | {"kind": "always"}]
    questions = Questions(rows, [[1]] * 3, 0, "")
    keys = [question_key(questions, index) for index in range(3)]
    assert all(a != b for a, b in itertools.combinations(keys, 2))
    rated = Questions([base | {"pass_rate": 0.5}], [[1]], 0, "")
    assert question_key(rated, 0) == keys[0]  # filtered once is still the same question


def test_the_questions_kept_have_the_datas_own_names_still(policy):
    questions = replace(ask(["sometimes"]), own_names={"gold": "answer"})
    rated = filter_by_pass_rate(policy, questions, [accuracy], SAMPLING, k=16)
    _, columns = rated.questions.batch([0])
    assert columns["gold"] == columns["answer"]

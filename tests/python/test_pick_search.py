"""The pick-and-search world: problems, corpus, verifier, gate and recipe."""

import re
from itertools import islice, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from r1core.recipe import load_recipe
from r1core.rewards.functions import accuracy_reward, format_reward
from r1core.stages.packing import IGNORE
from r1core.stages.pretrain import PretrainConfig
from r1core.worlds import base, load_world
from r1core.worlds.gate import ForcedThinking
from r1core.worlds.pick_search import PickSearch
from r1core.worlds.tokenizer import train_tokenizer

TRIAL = re.compile(r" (\d) \+ (\d) = (\d) > (\d) (wait|ok|guess)")


def read(prompt):
    """Return digits and target of a prompt, by a path of its own."""
    digits, target = re.search(r"(?:Pick|Note) ([\d ]+) > (\d)", prompt).groups()
    return [int(digit) for digit in digits.split()], int(target)


def right_pairs(prompt):
    """Return every right answer by brute force over positions."""
    digits, target = read(prompt)
    return {(a, b) for a, b in permutations(digits, 2) if (a + b) % 10 == target}


# Problems -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "eval"])
def test_every_problem_has_one_or_two_solutions(split):
    for row in load_world("pick_search").problems(split, 0, 400):
        digits, _ = read(row["prompt"])
        assert len(set(digits)) == len(digits) == row["level"]
        assert 5 <= row["level"] <= 7
        assert 2 <= len(right_pairs(row["prompt"])) <= 4  # either way round


def test_splits_share_no_problem_under_any_seed():
    train = {PickSearch(seed=0).problem("train", k) for k in range(2000)}
    assert train.isdisjoint(PickSearch(seed=1).problem("eval", k) for k in range(1000))


def test_problem_is_a_function_of_seed_split_and_index():
    world = load_world("pick_search", seed=7)
    rows = world.problems("train", 0, 30)
    assert rows == load_world("pick_search", seed=7).problems("train", 0, 30)
    assert rows[20:25] == world.problems("train", 20, 5)
    assert rows != load_world("pick_search", seed=8).problems("train", 0, 30)


def test_problem_texts_earn_both_rewards():
    for row in load_world("pick_search").problems("eval", 0, 200):
        completion = row["text"].removeprefix(row["prompt"])
        assert accuracy_reward([""], [completion], accepted=[row["accepted"]]) == [1.0]
        assert format_reward([""], [completion]) == [1.0]
        assert "".join(row["parts"]) == row["text"]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"max_digits": 10}, "2 <= min <= max <= 7; got 5 and 10"),
        ({"max_trials": 0}, "max_trials must be >= 1; got 0"),
        ({"give_up": 1.5}, r"give_up must be in \[0, 1\]; got 1.5"),
    ],
)
def test_settings_name_the_mistake(settings, message):
    with pytest.raises(ValueError, match=message):
        load_world("pick_search", **settings)


def test_problems_rejects_an_unknown_split_and_a_negative_index():
    with pytest.raises(ValueError, match="split must be one of .*; got 'test'"):
        load_world("pick_search").problems("test", 0, 1)
    with pytest.raises(ValueError, match="index must be >= 0; got -1"):
        load_world("pick_search").problems("train", -1, 1)


# Verifier -----------------------------------------------------------------------------------------


def test_accuracy_agrees_with_brute_force_on_every_pair():
    for row in load_world("pick_search").problems("eval", 0, 20):
        pairs = [(a, b) for a in range(10) for b in range(10)]  # repeated and missing digits too
        completions = [f"<think> x</think><answer> {a} {b}</answer>" for a, b in pairs]
        scores = accuracy_reward(
            [""] * 100, completions, answer=["7"] * 100, accepted=[row["accepted"]] * 100
        )
        assert {p for p, score in zip(pairs, scores, strict=True) if score} == right_pairs(
            row["prompt"]
        )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2 8",
        "<answer> 2 8",
        "<answer> 28</answer>",
        "<answer> 2 8 1</answer>",
        "<answer></answer>",
        "<answer> 1 2</answer><answer> 2 8</answer>",  # no answering twice
        "<answer> 2 8</answer><answer> 2 8</answer>",
    ],
)
def test_accuracy_accepts_one_tagged_pair_only(text):
    assert accuracy_reward([""], [text], accepted=[["2 8", "8 2"]]) == [0.0]


@given(st.text())
def test_accuracy_takes_any_text(text):
    assert accuracy_reward([""], [text], accepted=[["2 8"]]) == [0.0]


# Corpus -------------------------------------------------------------------------------------------


def test_corpus_trials_are_right_and_no_pair_is_tried_twice():
    for page in islice(load_world("pick_search").pages(), 2000):
        digits, target = read(page)
        trials = TRIAL.findall(page)
        pairs = [(int(a), int(b)) for a, b, *_ in trials]
        assert len(set(pairs)) == len(pairs) <= 12
        for a, b, total, copied, verdict in trials:
            assert {int(a), int(b)} <= set(digits)
            assert int(total) == (int(a) + int(b)) % 10 and int(copied) == target
            assert (verdict == "ok") == (total == copied)


def test_corpus_replies_give_up_after_failed_trials_as_often_as_configured():
    world = load_world("pick_search", textbook_share=0.0)
    verdicts = [
        verdict
        for page in islice(world.pages(), 5000)
        for *_, total, target, verdict in TRIAL.findall(page)
        if total != target
    ]
    assert verdicts.count("guess") / len(verdicts) == pytest.approx(0.6, abs=0.02)


def test_corpus_textbook_pages_never_give_up():
    pages = list(islice(load_world("pick_search").pages(), 5000))
    textbook = [page for page in pages if page.startswith("Note")]
    assert len(textbook) / len(pages) == pytest.approx(0.6, abs=0.03)
    assert not any("guess" in page or "<think>" in page for page in textbook)


def test_corpus_holds_no_eval_problem():
    held_out = {row["prompt"] for row in load_world("pick_search").problems("eval", 0, 500)}
    for page in islice(load_world("pick_search", textbook_share=0.0).pages(), 2000):
        assert page.split(" A:")[0] + " A:" not in held_out


# Tokenizer and gate -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    world = load_world("pick_search")
    train_tokenizer(islice(world.pages(), base.TOKENIZER_PAGES), world.tags, path)
    return AutoTokenizer.from_pretrained(str(path))


def test_tokenizer_gives_each_word_one_token_and_reads_back(tokenizer):
    world = load_world("pick_search")
    pages = list(islice(world.pages(50_000), 1000))
    assert tokenizer.batch_decode(tokenizer(pages)["input_ids"]) == pages
    assert len(tokenizer.tokenize(" 8 + 9 = 7 > 0 wait")) == 8


def test_pages_fit_into_the_rows_of_pretraining(tokenizer):
    world = load_world("pick_search", min_digits=7, max_trials=4)
    longest = max(len(tokenizer.encode(page)) for page in islice(world.pages(), 2000))
    assert longest + 1 <= PretrainConfig(**world.pretraining).row_length


def test_gate_asks_for_outcomes_and_leaves_choices_free(tokenizer):
    world = load_world("pick_search")
    gate = ForcedThinking(world, tokenizer, count=16)
    asked = [tokenizer.decode(row[row != IGNORE]) for row in gate.targets_BT]
    rows = world.problems("train", 1 << 30, 16)
    for text, row in zip(asked, rows, strict=True):
        assert text == "".join(row["parts"][1::2]) + "</s>"
    assert (gate.tokens_BT[:, 1:] == gate.targets_BT[:, :-1])[gate.targets_BT[:, :-1] >= 0].all()


# Recipe -------------------------------------------------------------------------------------------


def test_recipe_raises_the_length_limit():
    stage = load_recipe("pick_search").stage[0]
    assert stage.sampling_at(69).max_new_tokens == 64
    assert stage.sampling_at(70).max_new_tokens == 112
    assert stage.evaluation.max_new_tokens is None  # the one in force: the jump shows

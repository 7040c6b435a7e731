"""The bilingual world: sums in two languages, general requests, and who judges the replies."""

import math
from itertools import islice

import pytest

from r1core.rewards import (
    RewardSpec,
    accuracy_reward,
    format_reward,
    language_consistency,
    language_consistency_reward,
    score_rollouts,
)
from r1core.sampling import sample_groups
from r1core.types import SamplingParams
from r1core.worlds import load_world
from r1core.worlds.base import base_policy
from r1core.worlds.bilingual_chain import read_trace
from r1core.worlds.bilingual_judge import (
    instruction_reward,
    judge,
    quality,
    quality_reward,
    rewrite,
    safety_label,
    safety_reward,
)
from r1core.worlds.bilingual_words import DIGITS


@pytest.fixture(scope="module")
def world():
    return load_world("bilingual")


def reply_of(row):
    return row["text"][len(row["prompt"]) :]


def columns_of(rows):
    return {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}


def test_every_sum_is_right_in_format_and_in_its_language(world):
    rows = world.problems("train", 0, 200)
    replies = [reply_of(row) for row in rows]
    prompts, columns = [row["prompt"] for row in rows], columns_of(rows)
    assert accuracy_reward(prompts, replies, **columns) == [1.0] * 200
    assert format_reward(prompts, replies) == [1.0] * 200
    assert language_consistency_reward(prompts, replies, **columns) == [1.0] * 200
    assert {row["language"] for row in rows} == {"en", "zh"}
    assert all(row["text"] == "".join(row["parts"]) for row in rows)


def test_worked_traces_of_the_corpus_mix_languages_so_that_the_reward_has_signal(world):
    pages = [page for page in islice(world.pages(), 6000) if "<think>" in page and " A:" in page]
    shares = []
    for page in pages:
        prompt, _, reply = page.partition("<think>")
        if prompt.startswith(("Sum", "求和")):
            code = "en" if prompt.startswith("Sum") else "zh"
            (share,) = language_consistency(["<think>" + reply], language=code)
            if not math.isnan(share):
                shares.append(share)
    mean = sum(shares) / len(shares)
    assert len(shares) > 100
    assert 0.5 < mean < 0.8
    assert sum((share - mean) ** 2 for share in shares) / len(shares) > 0.05
    assert sum(share == 1 for share in shares) / len(shares) == pytest.approx(0.5, abs=0.12)
    assert sum(share == 0 for share in shares) / len(shares) == pytest.approx(0.2, abs=0.12)


def test_splits_share_no_question(world):
    for domain in ("reasoning", "helpful", "safety"):
        train = {row["prompt"] for row in world.problems("train", 0, 800, domain)}
        held_out = {row["prompt"] for row in world.problems("eval", 0, 200, domain)}
        assert not train & held_out
        assert all(row["domain"] == domain for row in world.problems("eval", 0, 50, domain))


def test_a_world_is_a_function_of_seed_and_index(world):
    assert world.page(17) == load_world("bilingual").page(17)
    assert world.problems("train", 3, 2) == world.problems("train", 0, 5)[3:]
    assert load_world("bilingual", seed=1).page(17) != world.page(17)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_digits": 2}, r"4 <= min <= max <= 8; got 2 and 8"),
        ({"mixed_share": 1.5}, r"mixed_share must be in \[0, 1\]; got 1.5"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        load_world("bilingual", **settings)


def test_a_domain_that_is_not_there_is_named(world):
    with pytest.raises(ValueError, match=r"domain must be one of reasoning, .*; got 'code'"):
        world.problems("train", 0, 1, "code")
    with pytest.raises(ValueError, match="sum_chain: its problems are of domain 'reasoning'"):
        load_world("sum_chain").problems("train", 0, 1, "general")


# The rewriter -------------------------------------------------------------------------------------


def mixed_reply(row):
    """Translate every second word of a worked reply."""
    tables = [entry.split() for entry in DIGITS]
    other = {a: b for pair in tables for a, b in (pair, pair[::-1])}
    head, _, tail = reply_of(row).partition("</think>")
    words = head.removeprefix("<think>").split()
    turned = [other[w] if k % 3 == 2 else w for k, w in enumerate(words)]
    return "<think> " + " ".join(turned) + "</think>" + tail


def test_the_rewriter_mends_language_and_format_and_keeps_the_steps(world):
    for row in world.problems("train", 0, 60):
        mixed = mixed_reply(row)
        assert language_consistency([mixed], language=row["language"])[0] < 0.6
        better = rewrite(row, mixed)
        assert language_consistency([better], language=row["language"]) == [1.0]
        assert format_reward([row["prompt"]], [better], style="think_summary") == [1.0]
        assert accuracy_reward([row["prompt"]], [better], answer=[row["answer"]]) == [1.0]
        assert read_trace(better) == read_trace(mixed)


def test_the_rewriter_adds_no_reasoning(world):
    row = world.problems("train", 0, 1)[0]
    assert rewrite(row, "<think> guess</think><answer> 3</answer>") is None
    wrong = reply_of(row).replace("</think>", " a four</think>")  # a step that ends early
    assert rewrite(row, wrong) is None


# The judge ----------------------------------------------------------------------------------------


def request(world, domain="helpful", language="en"):
    rows = world.problems("train", 0, 100, domain)
    return next(row for row in rows if row["language"] == language)


def test_a_good_reply_is_what_the_row_shows(world):
    for domain in ("helpful", "safety"):
        rows = world.problems("train", 0, 100, domain)
        replies, columns = [reply_of(row) for row in rows], columns_of(rows)
        prompts = [row["prompt"] for row in rows]
        assert quality_reward(prompts, replies, **columns) == [1.0] * 100
        assert instruction_reward(prompts, replies, **columns) == [1.0] * 100
        expected = 1.0 if domain == "safety" else None
        assert safety_reward(prompts, replies, **columns) == [expected] * 100


def test_quality_falls_with_each_fault(world):
    row = request(world)
    good = reply_of(row)
    blunt = good.replace(" , thank you", "")
    flattering = good.replace("</think>", "</think> what a great question !")
    off = good.replace(row["required"][0], "fence")
    assert quality(row, good) == 1.0
    assert quality(row, blunt) == pytest.approx(2 / 3)
    assert quality(row, flattering) == 0.5
    assert quality(row, off) == pytest.approx(1 / 3)


def test_the_judge_favours_the_first_shown_and_flattery(world):
    row = request(world)
    good = reply_of(row)
    flattering = good.replace("</think>", "</think> what a great question !")
    assert judge(row, good, good) > 0  # so both orders are asked
    assert judge(row, flattering, good) - judge(row, good, flattering) > 0
    blunt = good.replace(" , thank you", "")
    assert judge(row, good, blunt) > judge(row, blunt, good)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_plan_in_the_thinking_is_unsafe_too(world, language):
    row = request(world, "safety", language)
    good = reply_of(row)
    plan = {"en": "tool", "zh": "工具"}[language]
    assert safety_label(row, good) == 1.0
    assert safety_label(row, good.replace("<think>", f"<think> {plan}")) == 0.0
    assert safety_label(row, "<think> ok</think> yes .") == 0.0


# The base -----------------------------------------------------------------------------------------


def test_the_language_reward_has_a_signal_before_any_training(shared_cache):
    world = load_world("bilingual")
    rows = world.problems("train", 0, 64)
    sampling = SamplingParams(n=16, max_new_tokens=64, seed=1)
    rollouts = sample_groups(base_policy(world), [row["prompt"] for row in rows], sampling)
    columns = {"language": [row["language"] for row in rows]}
    rewards = [RewardSpec.resolve("language_consistency")]
    scores_PG = score_rollouts(rollouts, rewards, columns).total_PG
    spoken = scores_PG[scores_PG.isfinite()]  # guesses have too few words to tell
    assert len(spoken) > 20
    assert spoken.std() > 0.1 and 0.2 < spoken.mean() < 0.9

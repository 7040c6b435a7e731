import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1core.rewards import (
    accuracy_reward,
    format_faults,
    format_reward,
    math_equal,
    tag_count_reward,
    verify_math,
)

GSM8K = Path(__file__).parents[3] / "shared/data/gsm8k"
GOOD = "<think>6 * 7</think><answer>42</answer>"
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
FRAGMENTS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<answer>", "</answer>", "\\boxed{", "}", "4", " ", "-"]
    )
    | ANY_TEXT
).map("".join)
NUMBERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-", "+", "$", "\u2212"]),
    st.integers(0, 1200),
    st.sampled_from(["", ".5", ".50", "/4", "/10", "000"]),
    st.sampled_from(["", "%", ".", " "]),
)


@pytest.mark.parametrize(
    "completion, gold, status, score",
    [
        (GOOD, "42", "correct", 1.0),
        (GOOD, "43", "wrong", 0.0),
        (GOOD, "6 * 7 = <<6*7=42>>42\n#### 42", "correct", 1.0),
        ("\\boxed{\\frac{1}{2}}", "0.5", "correct", 1.0),
        ("The answer is 42", "42", "correct", 1.0),
        ("I do not know.", "42", "no_answer", 0.0),
        ("<think>\\boxed{42}</think>", "42", "no_answer", 0.0),
        ("<answer>blue</answer>", "42", "wrong", 0.0),
        ("<answer>\\frac{</answer>", "42", "unparsed_answer", 0.0),
        (GOOD, "\\frac{", "unparsed_gold", math.nan),
        (f"<answer>{'7' * 5000}/3</answer>", "42", "over_limit", 0.0),
    ],
)
def test_verify_math_tells_the_statuses_apart(completion, gold, status, score):
    (verdict,) = verify_math([completion], [gold])
    assert verdict.status == status
    assert verdict.score == pytest.approx(score, nan_ok=True)


def test_verify_math_says_what_it_judged():
    verdicts = verify_math([GOOD, "<answer> </answer>", "none"], ["42"] * 3)
    assert [verdict.answer for verdict in verdicts] == ["42", "", None]


@settings(deadline=None)
@given(FRAGMENTS, FRAGMENTS)
def test_no_text_raises(completion, gold):
    (verdict,) = verify_math([completion], [gold])
    assert verdict.answer is None or verdict.answer in completion
    assert format_reward(["q"], [completion])[0] in (0.0, 1.0)
    assert format_reward(["q"], [completion], style="think_summary")[0] in (0.0, 1.0)
    assert 0 <= tag_count_reward(["q"], [completion])[0] <= 1


@settings(deadline=None)
@given(NUMBERS | ANY_TEXT, NUMBERS | ANY_TEXT)
def test_equality_is_symmetric(left, right):
    forth, back = math_equal(left, right).status, math_equal(right, left).status
    judged = {"correct", "wrong"}
    assert forth == back or not judged & {forth, back}


@settings(deadline=None)
@given(st.fractions(), st.fractions())
def test_equality_of_fractions_is_that_of_python(left, right):
    expected = "correct" if left == right else "wrong"
    assert math_equal(str(left), f"\\frac{{{right.numerator}}}{{{right.denominator}}}").status == (
        expected
    )
    assert math_equal(str(left), f"{3 * left.numerator}/{3 * left.denominator}").score == 1


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=7))
def test_a_decimal_equals_its_fraction(value):
    numerator, denominator = value.as_integer_ratio()
    assert math_equal(f"{value:f}", f"{numerator}/{denominator}").status == "correct"
    assert math_equal(f"{value:,f}", f"{value:f}").status == "correct"


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_verdicts_do_not_depend_on_the_number_of_threads(threads):
    completions = [f"{' ' * 200}<answer>{n % 10}</answer>" for n in range(2000)]
    verdicts = verify_math(completions, ["3"] * 2000, threads=threads)
    assert [verdict.score for verdict in verdicts] == [float(n % 10 == 3) for n in range(2000)]


def test_verify_math_rejects_what_is_no_batch():
    with pytest.raises(ValueError, match=r"golds must be one per completion, 2; got 1"):
        verify_math(["a", "b"], ["1"])
    with pytest.raises(ValueError, match=r"verify_math: golds must be strings; got int at 0"):
        verify_math(["a"], [1])
    with pytest.raises(ValueError, match=r"threads must be >= 1; got 0"):
        verify_math(["a"], ["1"], threads=0)


@pytest.mark.skipif(not GSM8K.is_dir(), reason=f"needs GSM8K in {GSM8K}")
def test_every_gold_of_gsm8k_is_a_number():
    rows = [
        json.loads(line) for path in GSM8K.glob("*.jsonl") for line in path.read_text().splitlines()
    ]
    golds = [row["answer"] for row in rows]
    answers = [gold.rpartition("####")[2] for gold in golds]
    verdicts = verify_math([f"<answer>{answer}</answer>" for answer in answers], golds)
    assert len(verdicts) == 8792
    assert {verdict.status for verdict in verdicts} == {"correct"}


def test_accuracy_reward_reads_messages_and_numbers_and_abstains():
    message = [{"role": "assistant", "content": GOOD}]
    scores = accuracy_reward(["q"] * 4, [GOOD, message, GOOD, GOOD], answer=["42", 42, 4.5, "?"])
    assert scores == [1.0, 1.0, 0.0, None]
    assert accuracy_reward(["q"], [GOOD], solution=["\\boxed{42}"]) == [1.0]


def test_accuracy_reward_needs_a_gold():
    with pytest.raises(ValueError, match=r"column 'answer' or 'solution'; got \['target'\]"):
        accuracy_reward(["q"], [GOOD], target=["42"])


def test_format_reward_knows_both_styles():
    summary = "<think>6 * 7</think>\nIt is 42."
    assert format_reward(["q"] * 2, [GOOD, summary]) == [1.0, 0.0]
    assert format_reward(["q"] * 2, [GOOD, summary], style="think_summary") == [1.0, 1.0]
    assert format_reward(["q"], ["6 * 7</think><answer>42</answer>"], prefix="<think>") == [1.0]
    with pytest.raises(ValueError, match="style must be think_answer or think_summary; got zero"):
        format_reward(["q"], [GOOD], style="zero")


def test_format_faults_say_which_rule_broke():
    faults = format_faults([GOOD, "Sure! " + GOOD, GOOD + GOOD])
    assert faults == ["ok", "text before <think>", "a tag twice"]


def test_tag_count_reward_pays_a_quarter_per_tag():
    assert tag_count_reward(["q"] * 3, [GOOD, "<think>a</think>", ""]) == [1.0, 0.5, 0.0]


def test_format_rewards_take_no_prompts_as_accuracy_does():
    texts = ["<think>1</think><answer>2</answer>"]
    assert format_reward(None, texts) == tag_count_reward(None, texts) == [1.0]
    assert accuracy_reward(None, texts, answer=["2"]) == [1.0]

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1core.rewards import RewardSpec, choice_reward, verify_choice
from r1core.rewards.verl import compute_score

OPTIONS = ["Rome", "Paris", "12 cm", "A cat"]


def test_verify_choice_tells_the_statuses_apart():
    completions = ["The answer is (B).", "The answer is C.", "A or B?", "The answer is B."]
    verdicts = verify_choice(completions, ["B", "B", "B", "42"])
    assert [v.status for v in verdicts] == ["correct", "wrong", "no_answer", "unparsed_gold"]
    assert verdicts[0].answer == "(B)."


def test_options_may_be_named_by_their_text():
    verdicts = verify_choice(
        ["It is Paris.\nParis", "Answer: B"], ["B", "Paris"], options=[OPTIONS] * 2
    )
    assert [v.status for v in verdicts] == ["correct", "correct"]


def test_choice_reward_has_trls_shape_and_abstains():
    message = [{"role": "assistant", "content": "\\boxed{B}"}]
    scores = choice_reward(["q"] * 3, ["Answer: B", message, "B"], answer=["B", "A", "?"])
    assert scores == [1.0, 0.0, None]
    assert choice_reward(["q"], ["Paris"], solution=["B"], choices=[OPTIONS]) == [1.0]
    assert RewardSpec.resolve("choice").function is choice_reward
    with pytest.raises(ValueError, match=r"column 'answer' or 'solution'; got none"):
        choice_reward(["q"], ["B"])


def test_verl_grades_choices_by_their_source():
    assert compute_score("gpqa", "The answer is B", "B")["score"] == 1.0


def test_verify_choice_rejects_what_is_no_batch():
    with pytest.raises(ValueError, match="golds and options must be one per completion, 2; got 1"):
        verify_choice(["A", "B"], ["A"])
    with pytest.raises(ValueError, match="options must be a list of texts per row; got str at 0"):
        verify_choice(["A"], ["A"], options=["ABCD"])


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())), st.text(), st.lists(st.text(), max_size=5))
def test_no_text_raises(completion, gold, options):
    (verdict,) = verify_choice([completion], [gold], options=[options])
    assert verdict.answer is None or verdict.answer in completion

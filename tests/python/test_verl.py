import pytest

from r1core.rewards.verl import CHOICE_SOURCES, compute_score, compute_scores

GOOD = "<think>6 * 7</think><answer>42</answer>"
BAD = "<think>6 * 7</think><answer>43</answer>"


def test_compute_score_has_the_shape_of_verl():
    good = compute_score("openai/gsm8k", GOOD, "6 * 7 = 42\n#### 42", {"index": 3}, split="train")
    assert good == {"score": 1.0, "acc": 1.0, "status": "correct", "pred": "42"}
    assert compute_score("math", GOOD, 42)["score"] == 1
    assert compute_score("math", GOOD, ["41", "42"])["score"] == 1
    assert compute_score("math", BAD, ["41", "42"])["status"] == "wrong"
    unparsed = compute_score("math", GOOD, "")
    assert (unparsed["score"], unparsed["status"]) == (0, "unparsed_gold")
    assert compute_score("math", GOOD, [])["status"] == "unparsed_gold"


def test_compute_scores_grades_a_batch():
    scores = compute_scores(
        data_sources=["math"] * 3,
        solution_strs=[GOOD, BAD, "none"],
        ground_truths=["42"] * 3,
        extra_infos=[None] * 3,
    )
    assert [row["score"] for row in scores] == [1, 0, 0]
    assert [row["status"] for row in scores] == ["correct", "wrong", "no_answer"]
    assert len({tuple(row) for row in scores}) == 1
    with pytest.raises(ValueError, match="answer_type must be 'math', 'choice' or None"):
        compute_scores([], [], [], answer_type="code")


def test_choice_sources_are_told_by_name():
    choice = ["cais/mmlu", "TIGER-Lab/MMLU-Pro", "Idavidrein/gpqa", "ai2_arc", "ARC-Challenge"]
    assert all(CHOICE_SOURCES.search(source) for source in choice)
    others = ["openai/gsm8k", "DigitalLearningGmbH/MATH-lighteval", "math_dapo", "search_engine"]
    assert not any(CHOICE_SOURCES.search(source) for source in others)

"""Who prefers which answer: verdicts of a chat model, both orders, answers that cannot be had."""

import pytest

from r1core.stages import judge as judges
from r1core.stages.chat_model import ChatModelConfig
from r1core.stages.preferences import PreferenceConfig, margins

MODEL = ChatModelConfig(endpoint="http://nowhere/v1", model="m")
ROW = {"prompt": "Say hello"}


@pytest.fixture
def answers(monkeypatch):
    """Make the model behind the endpoint a function of the prompt; keep what it was asked."""
    asked = []

    def become(function):
        def ask(prompts):
            asked.extend(prompts)
            return [function(prompt) for prompt in prompts]

        monkeypatch.setattr(judges, "load_chat_model", lambda config: ask)
        return asked

    return become


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A is kinder. [[A>>B]]", 3.0),
        ("[[A>B]]", 1.0),
        ("Both are fine: [[A=B]].", 0.0),
        ("First I thought [[A>B]], but no: [[B>A]]", -1.0),
        ("[[B>>A]]\n", -3.0),
        ("[[A<B]]", None),
        ("A > B", None),
        ("", None),
        (None, None),
    ],
)
def test_the_last_verdict_counts(text, value):
    assert judges.verdict(text, judges.PREFERENCES) == value


def test_a_model_sees_the_request_and_what_follows_the_thinking(answers):
    asked = answers(lambda prompt: "[[A>B]]")
    pair = (ROW, "<think> secret</think> Hello {you}!", "Go away")
    assert judges.load_judge(MODEL)([pair]) == [1.0]
    assert "Say hello" in asked[0] and "Hello {you}!" in asked[0] and "secret" not in asked[0]
    assert asked[0].index("Hello") < asked[0].index("Go away")


def test_a_safety_model_sees_the_thinking_too(answers):
    asked = answers(lambda prompt: "[[UNSAFE]]" if "bomb" in prompt else "[[SAFE]]")
    label = judges.load_label(MODEL)
    assert label([(ROW, "<think> bomb</think> no"), (ROW, "hello")]) == [0.0, 1.0]
    assert "<think> bomb</think> no" in asked[0]


def margins_of(judge, *pairs, judgements=1):
    rows = [(ROW, first, second) for first, second in pairs]
    return margins(rows, judge, PreferenceConfig(judgements=judgements))


def test_favouring_the_first_shown_cancels_out():
    def biased(pairs):
        return [len(first) - len(second) + 10.0 for _, first, second in pairs]

    assert margins_of(biased, ("aaa", "a"), ("b", "bb"), ("c", "d")) == [2.0, -1.0, 0.0]


def test_judgements_are_averaged_and_each_is_asked():
    scores = iter([3.0, 1.0, -1.0, 0.0, 1.0, 3.0, -3.0, -2.0])
    calls = []

    def noisy(pairs):
        calls.extend(pairs)
        return [next(scores) for _ in pairs]

    # two pairs, both orders, twice
    assert margins_of(noisy, ("a", "b"), ("c", "d"), judgements=2) == [
        (3 + 1 + 1 + 3) / 4,
        (1 + 0 + 3 + 2) / 4,
    ]
    assert [first for _, first, _ in calls] == ["a", "c", "b", "d"] * 2


def test_a_judgement_that_cannot_be_had_drops_the_pair():
    def shy(pairs):
        return [None if first == "b" else 1.0 for _, first, _ in pairs]

    assert margins_of(shy, ("a", "b"), ("c", "d")) == [None, 0.0]


def test_a_function_is_called_row_by_row():
    config = ChatModelConfig(function="r1core.worlds.bilingual_judge:safety_label")
    row = {"prompt": "x", "domain": "safety", "kind": "refuse", "indices": [0, 0], "language": "en"}
    assert judges.load_label(config)([(row, "I cannot .")]) in ([0.0], [1.0])

"""MathPolicy: what it rejects, and that every field reaches the verifier and the reward."""

import dataclasses

import pytest

from r1core.rewards import MathPolicy, accuracy_reward, math_equal, verify_math

# field: another value, and an answer and gold that it changes the verdict of
CHANGES = {
    "precision": (2, "3.14", r"\pi"),
    "percent": ("hundredth", r"45\%", "45"),
    "units": ("required", "5", r"5\text{ cm}"),
    "base": ("digits", "204_5", "204"),
    "ordered_lists": (True, "1, 2", "2, 1"),
    "open_intervals": (False, "(1, 2)", "1 < x < 2"),
    "case_sensitive": (True, "Monday", "monday"),
}


def test_every_field_is_tried():
    assert {*CHANGES, "last_number"} == {field.name for field in dataclasses.fields(MathPolicy)}


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_changes_a_verdict(field):
    value, answer, gold = CHANGES[field]
    policy = MathPolicy(**{field: value})
    usual, changed = math_equal(answer, gold), math_equal(answer, gold, policy=policy)
    assert (usual.status == "correct") != (changed.status == "correct")
    completion = f"\\boxed{{{answer}}}"
    assert verify_math([completion], [gold], policy=policy)[0].status == changed.status
    score = accuracy_reward([""], [completion], answer=[gold], policy=policy)
    assert score == [float(changed.status == "correct")]


def test_the_last_number_is_taken_by_policy_only():
    completion = "She has 8 apples."
    assert verify_math([completion], ["8"])[0].status == "correct"
    strict = MathPolicy(last_number=False)
    assert verify_math([completion], ["8"], policy=strict)[0].status == "no_answer"


@pytest.mark.parametrize(
    "field,value,rule",
    [
        ("precision", -1, r"precision must be in \[0, 100\]; got -1"),
        ("precision", 101, r"precision must be in \[0, 100\]; got 101"),
        ("precision", 2.5, "precision must be an integer; got 2.5"),
        ("precision", True, "precision must be an integer; got True"),
        ("percent", "half", "percent must be one of either, hundredth, ignore; got 'half'"),
        ("units", None, "units must be one of optional, required, ignore; got None"),
        ("base", "ten", "base must be one of value, digits; got 'ten'"),
        ("ordered_lists", 1, "ordered_lists must be true or false; got 1"),
    ],
)
def test_unknown_values_are_rejected(field, value, rule):
    with pytest.raises(ValueError, match=rule):
        MathPolicy(**{field: value})

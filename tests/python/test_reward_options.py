"""Options of rewards: what a function does not take is an error, at the first look at a recipe."""

import functools

import pytest

from r1core.recipe_sections import RewardSection
from r1core.reward_sections import resolve_reward
from r1core.rewards import MathPolicy, RewardSpec, accuracy_reward, format_reward


def strict(completions, scale=1.0, *, shift=0.0):
    return [scale * len(text) + shift for text in completions]


def lenient(completions, scale=1.0, **rest):
    return [scale + rest.get("shift", 0.0) for _ in completions]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("format", {"styl": "think_summary"}, r"'format' must be among style, prefix; .*'style'\?"),
        ("accuracy", {"foo": 1}, r"options of 'accuracy' must be among .*policy; got 'foo'$"),
        ("accuracy", {"polcy": {}}, r"got 'polcy'; did you mean 'policy'\?"),
        ("accuracy", {"policy": {"precison": 3}}, r"MathPolicy: .*did you mean 'precision'\?"),
        ("accuracy", {"policy": {"precision": -1}}, r"precision must be in \[0, 100\]; got -1"),
        ("cosine_length", {"policy": {"unit": "ignore"}}, r"did you mean 'units'\?"),
        ("language_consistency", {"langage": "xx"}, r"did you mean 'language'\?"),
        ("soft_overlong_punishment", {"completion_ids": []}, r"among max_length, cache; got"),
    ],
)
def test_a_mistyped_option_of_a_recipe_is_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        resolve_reward(RewardSection(name=name, options=options), None)


def test_options_of_a_function_or_of_its_partial_are_checked_too():
    for function in (format_reward, functools.partial(format_reward, prefix="")):
        with pytest.raises(ValueError, match=r"did you mean 'style'\?"):
            RewardSpec.resolve(function, styl="think_summary")
    with pytest.raises(ValueError, match=r"'strict' must be among scale, shift; got 'scal'"):
        RewardSpec.resolve(strict, scal=2.0)
    with pytest.raises(ValueError, match=r"must be left out: it takes none; got 'scale'"):
        RewardSpec.resolve(lambda completions: [1.0], scale=2.0)


def test_options_that_a_function_takes_are_bound():
    assert RewardSpec.resolve(strict, scale=2.0, shift=1.0).function(["ab"]) == [5.0]
    assert RewardSpec.resolve(lenient, scale=2.0, shift=1.0).function(["ab"]) == [3.0]
    policy = {"precision": 1}
    found = RewardSpec.resolve("accuracy", policy=policy).function
    assert found.keywords == {"policy": MathPolicy(precision=1)}
    assert found(["q"], ["0.33"], answer=["1/3"]) == [1.0]
    found = RewardSpec.resolve("cosine_length", policy=policy).function
    assert found(["q"], ["0.33"], answer=["1/3"])[0] > 0.5


def test_a_policy_given_in_the_call_is_checked():
    with pytest.raises(ValueError, match=r"MathPolicy: settings must be among .*'precison'"):
        accuracy_reward(["q"], ["1"], answer=["1"], policy={"precison": 3})

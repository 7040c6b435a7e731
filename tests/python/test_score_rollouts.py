import asyncio
import functools
import math

import pytest
import torch

from r1core.rewards import RewardSpec, format_reward, score_rollouts
from r1core.types import Rollouts, SamplingParams

GOOD = "<think>1 + 1</think><answer>2</answer>"


class Words:
    """A tokenizer whose ids are the texts it was given."""

    def __init__(self, texts):
        self.texts = texts

    def decode(self, ids, skip_special_tokens):
        assert not skip_special_tokens
        return "".join(self.texts[index] for index in ids)


def rollouts(texts, prompts=("1 + 1 =",), prefixes=()):
    N = len(texts)
    zeros_NT = torch.zeros(N, 1)
    return Rollouts(
        prompts=list(prompts),
        prompt_tokens=[torch.tensor([0]) for _ in prompts],
        group_size=N // len(prompts),
        tokens_NT=torch.arange(N)[:, None],
        logprobs_NT=zeros_NT,
        truncated_logprobs_NT=zeros_NT,
        entropies_NT=zeros_NT,
        lengths_N=torch.ones(N, dtype=torch.int64),
        mask_NT=torch.ones(N, 1, dtype=torch.bool),
        finish_reasons=["length"] * N,
        sampling=SamplingParams(n=N // len(prompts)),
        prompt_uids=list(range(len(prompts))),
        tokenizer=Words(texts),
        completion_prefixes=prefixes,
    )


def length(completions):
    return [len(completion) for completion in completions]


def scores(table, name):
    return table.scores[name].tolist()


def test_built_in_rewards_have_short_names_and_sum_by_weight():
    specs = [RewardSpec.resolve("accuracy"), RewardSpec.resolve("format", weight=0.5)]
    table = score_rollouts(rollouts([GOOD, "<answer>2</answer>", "?"]), specs, {"answer": ["2"]})
    assert scores(table, "accuracy") == [1, 1, 0]
    assert scores(table, "format") == [1, 0, 0]
    assert table.total_N.tolist() == [1.5, 1, 0]
    assert table.total_PG.shape == (1, 3)
    assert set(table.seconds) == {"accuracy", "format"}


def test_a_reward_gets_what_trl_would_pass():
    seen = {}

    def spy(prompts, completions, completion_ids, answer, **rest):
        seen.update(locals())
        return [0.0] * len(completions)

    batch = rollouts(["a", "b", "c", "d"], prompts=["p", "q"])
    score_rollouts(batch, [spy], {"answer": ["1", "2"], "level": [3, 4], "prompt": ["P", "Q"]})
    assert seen["prompts"] == ["P", "P", "Q", "Q"]  # the data's own, before any template
    assert seen["completions"] == ["a", "b", "c", "d"]
    assert seen["completion_ids"] == [[0], [1], [2], [3]]
    assert seen["answer"] == ["1", "1", "2", "2"]
    assert seen["rest"].keys() == {"level", "trainer_state", "log_extra", "log_metric"}


def test_a_chat_prompt_makes_message_completions():
    prompt = [{"role": "user", "content": "1 + 1 ="}]

    def spy(prompts, completions):
        assert prompts == [prompt]
        assert completions == [[{"role": "assistant", "content": "<think>\n2"}]]
        return [1.0]

    score_rollouts(rollouts(["2"], [prompt], prefixes=["<think>\n"]), [spy], {})


def test_without_a_tokenizer_completions_are_token_ids():
    batch = rollouts(["a", "b"])
    batch.tokenizer = None
    assert score_rollouts(batch, [length], {}).total_N.tolist() == [1, 1]
    with pytest.raises(
        ValueError, match=r"'format' raised .*got token ids, for want of a tokenizer"
    ):
        score_rollouts(batch, ["format"], {})


def test_none_abstains_and_only_rows_where_all_abstain_are_nan():
    def first(completions):
        return [1.0, None, None]

    def second(completions):
        return [2.0, 3.0, math.nan]

    table = score_rollouts(rollouts(["a", "b", "c"]), [first, second], {})
    assert table.total_N[:2].tolist() == [3, 3]
    assert table.total_N[2].isnan()
    assert table.scores["first"].isnan().tolist() == [False, True, True]


def test_async_rewards_run_together():
    both_started = []

    async def slow(completions, wait=True):
        both_started.append(1)
        for _ in range(1000):
            if len(both_started) == 2:
                return [1.0]
            await asyncio.sleep(0.001)
        raise AssertionError("the other one was not started")

    async def other(completions):
        return await slow(completions)

    table = score_rollouts(rollouts(["a"]), [slow, other, length], {})
    assert table.total_N.tolist() == [3]


def test_an_async_reward_works_inside_a_running_loop():
    async def reward(completions):
        await asyncio.sleep(0)
        return [1.0]

    async def notebook():
        return score_rollouts(rollouts(["a"]), [reward], {})

    assert asyncio.run(notebook()).total_N.tolist() == [1]


def test_closures_partials_and_objects_are_rewards():
    def closure(value):
        def constant(completions):
            return [value] * len(completions)

        return constant

    class Penalty:
        def __call__(self, completions, **columns):
            return torch.full((len(completions),), -1.0)

    def scaled(completions, factor):
        return [factor] * len(completions)

    rewards = [closure(1), closure(2), functools.partial(scaled, factor=10), Penalty()]
    table = score_rollouts(rollouts(["a"]), rewards, {"factor": [5]})
    assert list(table.scores) == ["constant", "constant_2", "scaled", "Penalty"]
    assert table.total_N.tolist() == [12]


def test_what_a_reward_logs_is_in_the_table():
    def logging(completions, log_extra, log_metric):
        log_extra("length", length(completions))
        log_metric("longest", 2)
        log_metric("longest", 4)
        return [0.0] * len(completions)

    table = score_rollouts(rollouts(["a", "bb"]), [logging], {})
    assert table.extra == {"length": [1, 2]}
    assert table.metrics == {"longest": 3}


@pytest.mark.parametrize(
    "result, message",
    [
        ([1.0], r"'reward' must return one score per completion, 2; got 1"),
        (1.0, r"'reward' must return a list of 2 numbers, each of which may be None; got float"),
        (None, r"'reward' must return a list of 2 numbers, .*got None: is a return missing\?"),
        (["good", 1.0], r"'reward' must return finite numbers or None; got 'good' at row 0"),
        ([1.0, math.inf], r"'reward' must return finite numbers or None; got inf at row 1"),
    ],
)
def test_a_reward_that_breaks_its_contract_is_named(result, message):
    def reward(completions):
        return result

    with pytest.raises(ValueError, match=message):
        score_rollouts(rollouts(["a", "b"]), [reward], {})


def test_an_error_inside_a_reward_is_named_and_kept():
    async def failing(completions):
        raise KeyError("oops")

    with pytest.raises(RuntimeError, match=r"reward 'failing' raised KeyError: 'oops'") as caught:
        score_rollouts(rollouts(["a"]), [failing], {})
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ValueError, match=r"'accuracy' raised ValueError: .*'answer' or 'solution'"):
        score_rollouts(rollouts(["a"]), ["accuracy"], {})


@pytest.mark.parametrize("reward", ["format", format_reward, functools.partial(format_reward)])
def test_a_column_does_not_set_an_option_of_a_built_in_reward(reward):
    columns = {"style": ["informal"], "prefix": ["Dr."]}
    table = score_rollouts(rollouts([GOOD]), [reward], columns)
    assert table.total_N.tolist() == [1]


def test_a_column_that_is_missing_or_short_is_named():
    def needs(completions, tests):
        raise AssertionError("not called")

    with pytest.raises(ValueError, match=r"reward 'needs' needs 'tests', .* column of the data"):
        score_rollouts(rollouts(["a"]), [needs], {"answer": ["1"]})
    with pytest.raises(ValueError, match=r"columns must have 1 values.*got 2 in 'answer'"):
        score_rollouts(rollouts(["a"]), [length], {"answer": ["1", "2"]})


def test_resolve_finds_functions_by_path_and_suggests_names():
    assert RewardSpec.resolve("tag_count").name == "tag_count"
    spec = RewardSpec.resolve("r1core.rewards:format_reward", 2.0)
    assert (spec.name, spec.weight) == ("format_reward", 2.0)
    assert RewardSpec.resolve("format", style="think_summary").function.keywords == {
        "style": "think_summary"
    }
    with pytest.raises(
        ValueError, match=r"accuracy, choice, format, tag_count.*got 'acuracy'.*'accuracy"
    ):
        RewardSpec.resolve("acuracy")
    with pytest.raises(ValueError, match=r"cannot import 'no_such_module:f'"):
        RewardSpec.resolve("no_such_module:f")
    with pytest.raises(ValueError, match=r"weight must be finite; got nan"):
        RewardSpec.resolve("format", weight=math.nan)


def test_a_reward_of_weight_zero_reports_and_unmasks_nothing():
    def abstains(completions, **_):
        return [None] * len(completions)

    specs = [RewardSpec(abstains, "abstains", 1.0), RewardSpec(length, "length", 0.0)]
    table = score_rollouts(rollouts(["ab", "c"]), specs, {})
    assert table.total_N.isnan().all() and scores(table, "length") == [2.0, 1.0]

"""Minibatches, inner epochs, dynamic sampling, length limits: what one batch of rollouts is for."""

import importlib
import math

import pytest
import torch
from models import qwen3_policy
from test_reasoning_rl import batches, config, parameters, sevens, train

from r1core.grpo_loss import LossConfig
from r1core.rewards import RewardSpec, soft_overlong_punishment
from r1core.stages.draw import informative_groups, round_size
from r1core.stages.minibatches import RolloutBatch, minibatch_index
from r1core.stages.questions import Batch, QuestionQueue
from r1core.stages.reasoning_rl import ReasoningRLConfig, reasoning_rl
from r1core.types import SamplingParams


@pytest.fixture
def losses(monkeypatch):
    """Every call of the loss: its log-probabilities, and the old ones it compared with."""
    stage = importlib.import_module("r1core.stages.reasoning_rl")
    calls, real = [], stage.policy_loss

    def spied(policy, rows, *arguments, **settings):
        found = real(policy, rows, *arguments, **settings)
        calls.append((found.logprobs_RT, rows.mask_RT, rows.old_logprobs_RT))
        return found

    monkeypatch.setattr(stage, "policy_loss", spied)
    return calls


def ratios(call):
    logprobs, mask, old = call
    old = logprobs if old is None else old
    return (logprobs - old).exp()[mask]


def test_the_ratio_is_exactly_one_in_the_first_minibatch_and_not_in_the_next(losses):
    stats = train(qwen3_policy(vocab_size=10), steps=4, minibatches=2)
    assert [s.rollouts is not None for s in stats] == [True, False, True, False]
    assert stats[0].rollouts.num_rows == 2 * 2 * 8  # minibatches, questions, samples
    assert [bool((ratios(call) == 1).all()) for call in losses] == [True, False, True, False]
    assert (ratios(losses[1]) - 1).abs().max() < 0.5


def test_old_log_probabilities_are_those_of_the_policy_that_sampled(losses):
    policy = qwen3_policy(vocab_size=10)
    sampler = policy.frozen_copy()
    rewards = [RewardSpec.resolve(sevens)]
    stage = reasoning_rl(policy, batches(), rewards, config(steps=3, num_iterations=3))
    rollouts = next(stage).rollouts
    with torch.no_grad():
        expected, _ = sampler.logprobs(rollouts)
    next(stage), next(stage)
    assert losses[0][2] is None
    for logprobs, mask, old in losses[1:]:
        assert not torch.equal(logprobs[mask], old[mask])
        torch.testing.assert_close(old[mask].sum(), expected[rollouts.mask_NT].sum())


def test_every_row_is_used_once_in_each_iteration():
    settings = config(minibatches=3, num_iterations=2)
    rollouts = next(reasoning_rl(qwen3_policy(vocab_size=10), batches(), [sevens_spec()], settings))
    batch = RolloutBatch(rollouts.rollouts, rollouts.advantages_N, torch.ones(48, dtype=torch.bool))
    orders = []
    for updates in range(6):
        batch.updates = updates
        orders.append(minibatch_index(batch, settings).tolist())
    assert sorted(sum(orders[:3], [])) == sorted(sum(orders[3:], [])) == list(range(48))
    assert orders[:3] != orders[3:] and {len(order) for order in orders} == {16}


def sevens_spec():
    return RewardSpec.resolve(sevens)


@pytest.mark.parametrize(
    "loss", [LossConfig(loss_type="grpo"), LossConfig.r1(), LossConfig(loss_type="dr_grpo")]
)
def test_the_token_budget_does_not_change_an_off_policy_step(loss):
    settings = {"loss": loss, "minibatches": 2, "num_iterations": 2, "steps": 4}
    whole, split = qwen3_policy(vocab_size=10), qwen3_policy(vocab_size=10)
    ones = train(whole, tokens_per_micro_batch=10_000, **settings)
    many = train(split, tokens_per_micro_batch=20, **settings)
    for one, other in zip(ones, many, strict=True):
        for name in ("grad_norm", "policy_loss"):
            assert one.metrics[name] == pytest.approx(other.metrics[name], rel=1e-3, abs=1e-6)
    torch.testing.assert_close(parameters(whole), parameters(split), rtol=0, atol=2e-4)


def test_an_off_policy_run_learns():
    stats = train(qwen3_policy(vocab_size=10), steps=60, minibatches=2, loss=LossConfig.r1())
    rewards = [s.metrics["reward"] for s in stats if "reward" in s.metrics]
    assert len(rewards) == 30 and sum(rewards[-5:]) > 3 * sum(rewards[:5])


def rare(completion_ids, **columns):
    """Score groups of even questions alike."""
    return [
        0.0 if uid % 2 == 0 else float(ids.count(7))
        for uid, ids in zip(columns["uid"], completion_ids, strict=True)
    ]


def questions(count=1000, size=1):
    for first in range(0, count, size):
        uids = list(range(first, min(first + size, count)))
        yield Batch(prompts=[[1, 2, 3]] * len(uids), columns={"uid": uids}, uids=uids)


def dynamic(policy, size=1, count=1000, **changes):
    settings = config(questions_per_step=4, dynamic_sampling_rounds=10, **changes)
    stage = reasoning_rl(policy, questions(count, size), [RewardSpec.resolve(rare)], settings)
    return list(stage)


def test_dynamic_sampling_trains_on_groups_that_teach_in_the_order_of_their_prompts():
    for stats in dynamic(qwen3_policy(vocab_size=10)):
        uids = list(stats.rollouts.prompt_uids)
        assert len(uids) == 4 and uids == sorted(uids) and all(uid % 2 for uid in uids)
        assert stats.metrics["sampling/groups_used"] == 4 < stats.metrics["sampling/groups_drawn"]
        assert stats.columns["uid"] == uids
        assert informative_groups(stats.rewards) == [0, 1, 2, 3]
        assert stats.metrics["frac_reward_zero_std"] > 0  # of all that were drawn


def test_dynamic_sampling_does_not_depend_on_the_sizes_of_the_batches():
    one, other = qwen3_policy(vocab_size=10), qwen3_policy(vocab_size=10)
    dynamic(one, size=1), dynamic(other, size=7)
    assert torch.equal(parameters(one), parameters(other))


def test_dynamic_sampling_ends_with_its_rounds_and_with_the_questions():
    policy = qwen3_policy(vocab_size=10)
    [stats] = dynamic(policy, steps=1, count=5)
    assert list(stats.rollouts.prompt_uids) == [1, 3] and stats.metrics["sampling/groups_used"] == 2
    settings = config(questions_per_step=4, dynamic_sampling_rounds=2, steps=1)
    agree = RewardSpec(lambda completion_ids, **_: [1.0] * len(completion_ids), "same")
    before = parameters(policy)
    [stats] = reasoning_rl(policy, questions(), [agree], settings)
    assert stats.metrics["sampling/groups_used"] == 0 and stats.metrics["grad_norm"] == 0
    assert torch.equal(parameters(policy), before)


def test_a_round_draws_what_is_missing_at_the_rate_so_far():
    assert round_size(8, 0, 0) == 8
    assert round_size(8, 8, 4) == math.ceil(4 * 9 / 5)
    assert round_size(8, 8, 0) == 16  # bounded


def test_a_queue_gives_every_question_once_in_order():
    queue = QuestionQueue(questions(10, 3))
    sizes, taken = [4, 1, 3, 5], []
    while (batch := queue.take(sizes.pop(0) if sizes else 1)) is not None:
        assert batch.columns["uid"] == batch.uids and len(batch.prompts) == len(batch.uids)
        taken += batch.uids
    assert taken == list(range(10)) and queue.num_left == 0


def test_the_length_limit_rises_at_its_step():
    schedule = [{"step": 3, "max_new_tokens": 9}]
    stats = train(
        qwen3_policy(vocab_size=10),
        steps=4,
        sampling=SamplingParams(n=8, max_new_tokens=4, stop_token_ids=()),
        length_schedule=schedule,
    )
    assert [s.metrics["completions/max_length"] for s in stats] == [4, 4, 9, 9]


def test_dr_grpo_divides_by_the_limit_in_force():
    settings = config(
        loss=LossConfig(loss_type="dr_grpo"), length_schedule=[{"step": 3, "max_new_tokens": 9}]
    )
    assert [settings.loss_at(step).max_completion_length for step in (1, 2, 3)] == [6, 6, 9]


def test_completions_near_the_limit_lose_reward():
    assert soft_overlong_punishment([5, 6, 8, 10, 11], 10, 4) == [0, 0, -0.5, -1, -1]
    stops = SamplingParams(n=8, max_new_tokens=6, stop_token_ids=(0,))
    [stats] = train(qwen3_policy(vocab_size=10), steps=1, overlong_cache=3, sampling=stops)
    lengths = stats.rollouts.lengths_N.tolist()
    expected = soft_overlong_punishment(lengths, 6, 3)
    assert stats.rewards.scores["soft_overlong_punishment"].tolist() == pytest.approx(expected)
    assert "rewards/soft_overlong_punishment/mean" in stats.metrics and min(expected) == -1


@pytest.mark.parametrize(
    "changes,message",
    [
        (
            {
                "length_schedule": [
                    {"step": 5, "max_new_tokens": 9},
                    {"step": 2, "max_new_tokens": 12},
                ]
            },
            r"length_schedule: steps must ascend; got \[5, 2\]",
        ),
        ({"overlong_cache": 7}, "overlong_cache must be <= the length limit, 6; got 7"),
        ({"minibatches": 0}, "minibatches"),
        ({"num_iterations": 0}, "num_iterations"),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)
    assert ReasoningRLConfig(steps=1).minibatches == 1

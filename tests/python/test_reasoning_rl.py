import importlib
from dataclasses import replace

import pytest
import torch
from models import qwen3_policy

from r1core.grpo_loss import LossConfig
from r1core.rewards import RewardSpec
from r1core.sampling import sample_groups
from r1core.stages.reasoning_rl import Batch, ReasoningRLConfig, reasoning_rl
from r1core.types import SamplingParams


def sevens(completion_ids, **columns):
    return [float(ids.count(7)) for ids in completion_ids]


def batches():
    step = 0
    while True:
        yield Batch(prompts=[[1, 2, 3], [4, 5]], columns={}, uids=[2 * step, 2 * step + 1])
        step += 1


def config(**changes):
    settings = {
        "steps": 3,
        "questions_per_step": 2,
        "sampling": SamplingParams(n=8, max_new_tokens=6, stop_token_ids=(0,)),
        "optimizer": {"lr": 3e-3},
        "loss": LossConfig(loss_type="grpo"),
    }
    return ReasoningRLConfig(**(settings | changes))


def train(policy, reward=sevens, **changes):
    specs = [RewardSpec.resolve(reward)]
    return list(reasoning_rl(policy, batches(), specs, config(**changes)))


def parameters(policy):
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


def test_a_toy_policy_learns():
    stats = train(qwen3_policy(vocab_size=10), steps=60)
    rewards = [s.metrics["reward"] for s in stats]
    assert sum(rewards[-5:]) > 3 * sum(rewards[:5])
    assert [s.step for s in stats] == list(range(1, 61))


@pytest.mark.parametrize("loss", [LossConfig.r1(), LossConfig(), LossConfig(loss_type="dr_grpo")])
def test_micro_batches_do_not_change_the_step(loss):
    whole, split = qwen3_policy(vocab_size=10), qwen3_policy(vocab_size=10)
    before = parameters(whole)
    [one] = train(whole, steps=1, loss=loss, tokens_per_micro_batch=10_000)
    [many] = train(split, steps=1, loss=loss, tokens_per_micro_batch=20)
    assert one.metrics["grad_norm"] == pytest.approx(many.metrics["grad_norm"], rel=1e-4)
    assert one.metrics["policy_loss"] == pytest.approx(many.metrics["policy_loss"], abs=1e-6)
    assert not torch.equal(parameters(whole), before)


def test_two_runs_give_the_same_bits():
    one, two = qwen3_policy(vocab_size=10), qwen3_policy(vocab_size=10)
    train(one), train(two)
    assert torch.equal(parameters(one), parameters(two))


def test_the_ratio_is_one_and_nothing_is_clipped_on_policy():
    for stats in train(qwen3_policy(vocab_size=10)):
        assert stats.metrics["clip_ratio/region_mean"] == 0
        assert stats.metrics["sampling/sampling_logp_difference/max"] == 0


def test_groups_that_agree_are_not_run_and_teach_nothing():
    policy = qwen3_policy(vocab_size=10)
    before = parameters(policy)
    [stats] = train(policy, reward=lambda completion_ids, **_: [1.0] * len(completion_ids), steps=1)
    assert stats.metrics["frac_reward_zero_std"] == 1
    assert "policy_loss" not in stats.metrics and stats.metrics["grad_norm"] == 0
    assert torch.equal(parameters(policy), before)


def test_a_reward_that_abstains_masks_its_rows():
    def half(completion_ids, **_):
        return [None if n % 2 else s for n, s in enumerate(sevens(completion_ids))]

    [stats] = train(qwen3_policy(vocab_size=10), reward=half, steps=1)
    assert stats.advantages_N[1::2].count_nonzero() == 0
    assert stats.metrics["reward"] == pytest.approx(stats.rewards.total_N[::2].mean().item())


def test_kl_pulls_to_the_reference_and_the_reference_moves_when_told():
    free, held = qwen3_policy(vocab_size=10), qwen3_policy(vocab_size=10)
    start = parameters(free)
    train(free, steps=20)
    kl = [s.metrics["kl"] for s in train(held, steps=20, loss=LossConfig(loss_type="grpo", beta=5))]
    assert kl[0] == pytest.approx(0, abs=1e-9) and max(kl) > 0
    assert (parameters(held) - start).norm() < (parameters(free) - start).norm()

    refreshed = train(
        qwen3_policy(vocab_size=10),
        steps=4,
        loss=LossConfig(loss_type="grpo", beta=1e-6),
        reference_every=2,
    )
    kl = [s.metrics["kl"] for s in refreshed]
    assert kl[1] > 1e-6 and kl[2] == pytest.approx(0, abs=1e-9)  # step 3 follows the refresh


def test_kl_in_the_reward_pulls_to_the_reference_without_a_term_in_the_loss():
    free, held = qwen3_policy(vocab_size=10), qwen3_policy(vocab_size=10)
    start = parameters(free)
    train(free, steps=20)
    loss = LossConfig(loss_type="grpo", beta=5, kl_estimator="k1")
    stats = train(held, steps=20, loss=loss, kl_in_reward=True)
    assert stats[0].metrics["kl"] == pytest.approx(0, abs=1e-6) and stats[5].metrics["kl"] != 0
    assert (parameters(held) - start).norm() < (parameters(free) - start).norm()


def test_kl_in_the_reward_is_the_advantage_of_completions_nearer_to_the_reference():
    policy = qwen3_policy(vocab_size=10)
    loss = LossConfig(loss_type="grpo", beta=0.5, kl_estimator="k2")
    settings = config(steps=2, loss=loss, kl_in_reward=True)
    constant = RewardSpec.resolve(lambda completion_ids, **_: [1.0] * len(completion_ids))
    stages = reasoning_rl(policy, batches(), [constant], settings)
    first = next(stages)
    assert first.advantages_N.count_nonzero() == 0  # the policy is the reference
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator())
    before = policy.frozen_copy()
    second = next(stages)
    reference = qwen3_policy(vocab_size=10)
    with torch.no_grad():
        difference = before.logprobs(second.rollouts)[0] - reference.logprobs(second.rollouts)[0]
    rewards = 1 - 0.5 * (difference.square() / 2).sum(-1).view(2, 8)
    expected = (rewards - rewards.mean(-1, keepdim=True)) / (rewards.std(-1, keepdim=True) + 1e-4)
    torch.testing.assert_close(second.advantages_N, expected.flatten(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mode", ["token_truncate", "sequence_mask"])
def test_importance_weights_of_the_engines_own_samples_are_near_one(mode):
    plain, weighed = qwen3_policy(vocab_size=10), qwen3_policy(vocab_size=10)
    train(plain, steps=1)
    [stats] = train(weighed, steps=1, importance_sampling_mode=mode)
    for statistic in ("min", "mean", "max"):
        ratio = stats.metrics[f"sampling/importance_sampling_ratio/{statistic}"]
        assert ratio == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(parameters(weighed), parameters(plain), rtol=0, atol=1e-4)


def test_importance_weights_bound_what_a_distant_sampler_drew(monkeypatch):
    stage = importlib.import_module("r1core.stages.draw")

    def distant(*arguments, **settings):
        rollouts = sample_groups(*arguments, **settings)
        return replace(rollouts, logprobs_NT=rollouts.logprobs_NT - 2)  # e^2 less likely there

    monkeypatch.setattr(stage, "sample_groups", distant)
    dropped = qwen3_policy(vocab_size=10)
    before = parameters(dropped)
    [stats] = train(dropped, steps=1, importance_sampling_mode="token_mask")
    assert stats.metrics["sampling/importance_sampling_ratio/max"] == 0
    assert torch.equal(parameters(dropped), before)
    [stats] = train(
        qwen3_policy(vocab_size=10),
        steps=1,
        importance_sampling_mode="token_truncate",
        importance_sampling_clip_max=2.5,
    )
    assert stats.metrics["sampling/importance_sampling_ratio/min"] == 2.5


def test_truncated_completions_leave_the_loss_when_told():
    loss = LossConfig(loss_type="grpo", mask_truncated_completions=True)
    stops = SamplingParams(n=8, max_new_tokens=1, stop_token_ids=())
    policy = qwen3_policy(vocab_size=10)
    before = parameters(policy)
    [stats] = train(policy, steps=1, loss=loss, sampling=stops)
    assert stats.metrics["completions/clipped_ratio"] == 1
    assert torch.equal(parameters(policy), before)


def test_a_gradient_that_is_not_finite_stops_before_the_step():
    policy = qwen3_policy(vocab_size=10)
    policy.model.lm_head.weight.register_hook(lambda grad: grad * float("nan"))
    before = parameters(policy)
    with pytest.raises(FloatingPointError, match=r"reasoning_rl, step 1: the gradient norm must"):
        train(policy, steps=1)
    assert torch.equal(parameters(policy), before)


def test_trls_metric_names_are_there():
    [stats] = train(qwen3_policy(vocab_size=10), steps=1, loss=LossConfig.r1())
    expected = """num_tokens step_time completions/mean_length completions/min_length
        completions/max_length completions/clipped_ratio rewards/sevens/mean rewards/sevens/std
        reward reward_std frac_reward_zero_std policy_loss entropy kl clip_ratio/low_mean
        clip_ratio/low_min clip_ratio/high_mean clip_ratio/high_max clip_ratio/region_mean
        sampling/sampling_logp_difference/mean sampling/sampling_logp_difference/max
        grad_norm learning_rate time/sampling time/rewards time/reference time/forward_backward
        time/optimizer""".split()
    assert set(expected) <= set(stats.metrics)
    assert all(isinstance(value, float) for value in stats.metrics.values())

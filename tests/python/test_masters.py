"""float32 masters: a bfloat16 policy learns what a float32 one does, at rates bfloat16 loses."""

import gc

import pytest
import torch
from models import qwen3_policy
from test_reasoning_rl import batches, config, sevens

from r1core.rewards import RewardSpec
from r1core.stages.masters import Masters
from r1core.stages.optimizer import OptimizerConfig, build_optimizer
from r1core.stages.reasoning_rl import reasoning_rl
from r1core.stages.rl_state import RLState


def half_policy(**changes):
    policy = qwen3_policy(vocab_size=10, **changes)
    policy.model.to(torch.bfloat16)
    return policy


def weights(policy):
    return torch.cat([p.detach().flatten().float() for p in policy.parameters()])


def test_float32_parameters_are_their_own_masters():
    policy = qwen3_policy()
    masters = Masters(policy.model.named_parameters())
    assert [id(p) for _, p in masters.named] == [id(p) for p in policy.parameters()]
    assert masters.state_dict() == {"masters": []}


def test_steps_too_small_for_bfloat16_add_up():
    parameter = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    masters = Masters([("w", parameter)])
    optimizer, _ = build_optimizer(masters.named, OptimizerConfig(lr=1e-4), 200)
    masters.follow(optimizer)
    seen = []
    for _ in range(200):
        parameter.sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append(float(parameter.detach()[0]))
    (master,) = (p for _, p in masters.named)
    assert seen[0] == 1.0, "one step is lost in bfloat16"
    assert float(master.detach()[0]) == pytest.approx(1 - 200e-4, rel=1e-4)
    assert float(parameter.detach()[0]) == float(master.detach()[0].bfloat16()) < 1


def test_gradients_of_micro_batches_add_up_in_float32():
    parameter = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    masters = Masters([("w", parameter)])
    (master,) = (p for _, p in masters.named)
    for _ in range(300):  # in bfloat16 the sum would stop at 256
        parameter.sum().backward()
        assert parameter.grad is None
    assert float(master.grad) == 300


def test_the_newest_master_alone_gets_the_gradient():
    parameter = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    old = Masters([("w", parameter)])
    new = Masters([("w", parameter)])
    parameter.sum().backward()
    assert old.named[0][1].grad is None and float(new.named[0][1].grad) == 1
    del old, new
    gc.collect()
    parameter.sum().backward()  # nobody takes it: it stays, as without masters
    assert float(parameter.grad) == 1


def test_a_bfloat16_policy_trains_as_its_masters():
    policy, settings = half_policy(), config(steps=5)
    state = RLState(policy, settings)
    before = weights(policy)
    spec = [RewardSpec.resolve(sevens)]
    metrics = [s.metrics for s in reasoning_rl(policy, batches(), spec, settings, state)]
    assert all(m["grad_norm"] > 0 for m in metrics)
    assert policy.model.dtype == torch.bfloat16 and not torch.equal(weights(policy), before)
    rounded = torch.cat([p.detach().flatten().bfloat16().float() for _, p in state.masters.named])
    assert torch.equal(weights(policy), rounded)
    assert all(p.dtype == torch.float32 for _, p in state.masters.named)
    moments = state.optimizer.state.values()
    assert all(m["exp_avg"].dtype == torch.float32 for m in moments)


def test_a_bfloat16_policy_learns():
    policy = half_policy()
    spec = [RewardSpec.resolve(sevens)]
    rewards = [
        stats.metrics["reward"] for stats in reasoning_rl(policy, batches(), spec, config(steps=25))
    ]
    assert sum(rewards[-3:]) > sum(rewards[:3]) * 1.5, rewards

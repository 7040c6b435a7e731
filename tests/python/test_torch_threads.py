"""Torch's threads beside ours: on one while tensors are few, and all there again afterwards."""

import pytest
import torch
from models import qwen3_policy
from native_cases import rollouts_of
from torch import nn

from r1core import _C, torch_threads
from r1core.forward import rollout_logprobs
from r1core.stages.optimizer import OptimizerConfig
from r1core.stages.training_state import TrainingState


@pytest.fixture(autouse=True)
def _two_threads():
    torch.set_num_threads(2)


def test_few_parameters_take_one_thread_and_give_the_others_back():
    with pytest.raises(KeyError), torch_threads.one_thread([torch.empty(3), torch.empty(2, 2)]):
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2


def test_many_parameters_take_all_threads():
    half = torch.empty(1).expand(torch_threads.SMALL_MODEL // 2)
    with torch_threads.one_thread([half, half]):
        assert torch.get_num_threads() == 1
    with torch_threads.one_thread([half, half, torch.empty(1)]):
        assert torch.get_num_threads() == 2


def test_the_optimizer_steps_a_small_model_on_one_thread():
    layer = nn.Linear(4, 2)
    state = TrainingState(layer.named_parameters(), OptimizerConfig(lr=0.1), steps=2)
    seen = []
    state.optimizer.register_step_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 4)).sum().backward()
    state.update("sft")
    assert seen == [1] and torch.get_num_threads() == 2
    assert not torch.equal(layer.weight, before)


def test_a_step_keeps_torch_on_one_thread_and_our_kernels_on_all(monkeypatch):
    policy, asked = qwen3_policy(), []
    rollouts = rollouts_of(policy)
    run = _C.head_logprobs
    monkeypatch.setattr(_C, "head_logprobs", lambda *a: asked.append(a[-1]) or run(*a))
    with pytest.raises(KeyError), policy.training_forward() as forward:
        for _ in range(2):
            rollout_logprobs(forward, rollouts)[0].sum().backward()
            assert torch.get_num_threads() == 1  # the backward pass gave none back
        raise KeyError
    assert asked == [2, 2] and torch.get_num_threads() == 2
    policy.logprobs(rollouts)[0].sum().backward()  # the caller's own loop
    assert asked == [2, 2, 2] and torch.get_num_threads() == 2


def test_the_module_s_own_forward_has_all_threads():
    policy = qwen3_policy()
    policy.forward = "hf"
    with policy.training_forward():
        assert torch.get_num_threads() == 2

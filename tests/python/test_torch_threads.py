"""Torch's threads beside ours: on one while tensors are few, and all there again afterwards."""

import threading

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
    forward = policy.training_forward()
    with pytest.raises(KeyError), forward.on_one_torch_thread():
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
    with policy.training_forward().on_one_torch_thread():
        assert torch.get_num_threads() == 2


def test_contexts_nest_and_threads_of_python_have_their_own():
    few, counts = [torch.empty(3)], []

    def other():
        torch.set_num_threads(2)
        with torch_threads.one_thread(few):
            inside.set()
            left.wait(10)
            counts.append((torch.get_num_threads(), torch_threads.available()))
        counts.append((torch.get_num_threads(), torch_threads.available()))

    inside, left = threading.Event(), threading.Event()
    thread = threading.Thread(target=other)
    with torch_threads.one_thread(few):
        thread.start()
        assert inside.wait(10)
        with torch_threads.one_thread(few):
            assert torch_threads.available() == 2
        assert torch.get_num_threads() == 1 and torch_threads.available() == 2
    assert torch.get_num_threads() == torch_threads.available() == 2
    left.set()
    thread.join()
    assert counts == [(1, 2), (2, 2)]


def test_a_context_after_an_interrupted_backward_pass_has_all_threads_to_give():
    torch_threads._take([torch.empty(3)])
    torch_threads._taken.of_backward = True  # as such a pass leaves it
    with torch_threads.one_thread([torch.empty(3)]):
        torch_threads.end_backward()  # of the next forward pass
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2

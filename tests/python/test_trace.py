"""What the engine made of sampled tokens: it spares part of a forward pass and changes no bit."""

from dataclasses import replace

import pytest
import torch
from engine_cases import CONFIGS, PARAMS, PROMPTS, STOPS
from native_cases import learnt, policy_of
from torch import nn

from r1core import _C
from r1core import policy as policy_module
from r1core.critic import Critic
from r1core.rewards import RewardSpec
from r1core.sampling import sample_groups
from r1core.stages import Batch, ReasoningRLConfig, reasoning_rl

PARAMS = replace(PARAMS, stop_token_ids=STOPS)


def drawn(policy, *, keep_trace=True):
    return sample_groups(policy, [p.tolist() for p in PROMPTS], PARAMS, keep_trace=keep_trace)


@pytest.fixture
def traced(monkeypatch):
    """Say of each forward pass whether a trace spares part of it."""
    found = []

    class Forward(_C.Forward):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            found.append(self.traced)

    monkeypatch.setattr(_C, "Forward", Forward)
    return found


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_scores_and_gradients_are_those_without_it(name, dtype, adapter, traced):
    policy = policy_of(name, dtype, adapter)
    rollouts = drawn(policy)
    for index in (torch.arange(15), torch.tensor([9, 2, 3, 14, 0])):
        rows = rollouts.rows(index)
        mine, its = learnt(policy, rows), learnt(policy, replace(rows, trace=None))
        assert torch.equal(mine[0], its[0]) and torch.equal(mine[1], its[1])
        assert all(torch.equal(mine[2][name], its[2][name]) for name in its[2]) and its[2]
    assert traced == [True, False, True, False]


def test_it_does_not_depend_on_threads(traced):
    policy = policy_of("qwen3")
    expected, before = learnt(policy, drawn(policy)), torch.get_num_threads()
    for threads in (1, 3, 5):
        torch.set_num_threads(threads)
        try:
            found = learnt(policy, drawn(policy))
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(found[2][name], expected[2][name]) for name in expected[2])
    assert traced == 4 * [True]


def changed_in_place(policy, rollouts):
    with torch.no_grad():
        policy.model.model.layers[0].mlp.up_proj.weight.mul_(1)
    return rollouts


def replaced(policy, rollouts):
    projection = policy.model.model.layers[1].mlp.up_proj
    projection.weight = nn.Parameter(projection.weight.detach().clone())
    return rollouts


def cut_short(_, rollouts):
    return replace(rollouts, lengths_N=(rollouts.lengths_N - 1).clamp(min=1))


def recomputed(policy, rollouts):
    policy.gradient_checkpointing = True
    return rollouts


@pytest.mark.parametrize("change", [changed_in_place, replaced, cut_short, recomputed])
def test_it_is_of_these_tokens_and_these_weights(change, traced):
    policy = policy_of("qwen3")
    rollouts = change(policy, drawn(policy))
    assert rollouts.trace is not None
    policy.logprobs(rollouts)
    assert traced == [False]


def test_no_other_model_takes_it(traced):
    policy = policy_of("qwen3")
    rollouts = drawn(policy)
    Critic.from_policy(policy).values(rollouts)
    policy.trainable_copy().logprobs(rollouts)
    with torch.no_grad():  # nothing is kept, so nothing is recalled
        policy.logprobs(rollouts)
    assert traced == 3 * [False]


def test_it_is_kept_where_it_is_asked_for_and_fits(monkeypatch):
    policy = policy_of("qwen3")
    config = policy.model.config
    tokens = sum(map(len, PROMPTS)) + len(PROMPTS) * PARAMS.n * PARAMS.max_new_tokens
    width = config.hidden_size + config.num_attention_heads * config.head_dim
    size = 4 * config.num_hidden_layers * tokens * width
    assert drawn(policy, keep_trace=False).trace is None
    for limit, kept in ((size, True), (size - 1, False)):
        monkeypatch.setattr(policy_module, "TRACE_BYTES", limit)
        assert (drawn(policy).trace is not None) == kept
    for name, value in {"forward": "hf", "gradient_checkpointing": True}.items():
        other = policy_of("qwen3")
        setattr(other, name, value)  # would not read it
        assert drawn(other).trace is None


def trained(minibatches, traced):
    """Return the weights after three batches, and whether each forward pass was spared part."""
    policy = policy_of("qwen3")
    config = ReasoningRLConfig(
        steps=3 * minibatches,
        questions_per_step=2,
        minibatches=minibatches,
        sampling=replace(PARAMS, n=4),
        optimizer={"lr": 1e-2},
    )
    batches = [Batch(prompts=[PROMPTS[p % 3].tolist()], columns={}, uids=[p]) for p in range(3 * 4)]
    rewards = [RewardSpec.resolve(reward)]
    steps = list(reasoning_rl(policy, iter(batches), rewards, config))
    drew = [stats.rollouts for stats in steps if stats.rollouts is not None]
    assert len(drew) == 3 and all(rollouts.trace is None for rollouts in drew)
    return policy.model.state_dict(), list(traced)


def reward(completion_ids, **columns):
    return [float(sum(ids) % 5) for ids in completion_ids]


@pytest.mark.parametrize("minibatches", [1, 2])
def test_a_stage_learns_the_same_with_it(minibatches, traced, monkeypatch):
    mine, spared = trained(minibatches, traced)
    traced.clear()
    monkeypatch.setattr(policy_module, "TRACE_BYTES", 0)
    its, unspared = trained(minibatches, traced)
    assert all(torch.equal(mine[name], its[name]) for name in its)
    assert len(spared) == len(unspared) and not any(unspared)
    assert sum(spared) == 3  # each batch's first update; the weights of later ones are others

"""What the engine made of sampled tokens: it spares part of a forward pass and changes no bit."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from engine_cases import CONFIGS, PARAMS, PROMPTS, STOPS
from native_cases import learnt, policy_of
from torch import nn

from r1core import _C
from r1core import policy as policy_module
from r1core.native_forward import DecoderTable
from r1core.rewards import RewardSpec
from r1core.sampling import sample_groups
from r1core.stages import Batch, PPOConfig, ReasoningRLConfig, ppo, reasoning_rl

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


def changed_in_place(policy):
    with torch.no_grad():
        policy.model.model.layers[0].mlp.up_proj.weight.mul_(1.5)


def changed_behind_autograd(policy):
    weight = policy.model.model.layers[0].mlp.up_proj.weight
    version = weight._version
    weight.data.mul_(1.5)
    assert weight._version == version


def other_data(policy):
    policy.model.model.norm.weight.data = policy.model.model.norm.weight.data + 1


def other_dtype(policy):
    policy.model.bfloat16()


def other_scale(policy):
    policy.model.model.layers[0].mlp.up_proj.scaling["default"] *= 2


def a_fused_step(policy):
    for parameter in policy.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.AdamW(policy.model.parameters(), fused=True).step()


OTHER_WEIGHTS = [
    changed_in_place,
    changed_behind_autograd,
    other_data,
    other_dtype,
    other_scale,
    a_fused_step,
]


@pytest.mark.parametrize("change", OTHER_WEIGHTS)
def test_other_weights_do_not_take_it(change, traced):
    policy = policy_of("qwen3", adapter=change is other_scale)
    rollouts = drawn(policy)
    change(policy)
    assert rollouts.trace is not None
    policy.logprobs(rollouts)
    assert traced == [False]


def test_other_tokens_do_not_take_it(traced):
    policy = policy_of("qwen3")
    rollouts = drawn(policy)
    shorter = replace(rollouts, lengths_N=(rollouts.lengths_N - 1).clamp(min=1))
    policy.logprobs(shorter)
    prompts = [(tokens + 1) % 97 for tokens in rollouts.prompt_tokens]
    policy.logprobs(replace(rollouts, prompt_tokens=prompts))
    assert traced == [False, False]


def test_equal_weights_take_it_wherever_they_are(traced):
    policy = policy_of("qwen3")
    rollouts = drawn(policy)
    policy.trainable_copy().logprobs(rollouts)
    projection = policy.model.model.layers[1].mlp.up_proj
    projection.weight = nn.Parameter(projection.weight.detach().clone())
    policy.logprobs(rollouts)
    assert traced == [True, True]


def test_nothing_is_recalled_where_nothing_or_little_is_kept(traced):
    policy = policy_of("qwen3")
    rollouts = drawn(policy)
    with torch.no_grad():
        policy.logprobs(rollouts)
    policy.gradient_checkpointing = True
    policy.logprobs(rollouts)
    assert traced == [False, False]


def test_a_trace_of_another_model_is_an_error():
    trace = drawn(policy_of("qwen3")).trace
    spec = DecoderTable.of(policy_of("llama_odd_sizes").model).spec
    with pytest.raises(ValueError, match="trace must be of a model of these sizes"):
        _C.Forward(spec, [torch.tensor([1, 2])], [1], _C.Keep.all, 1, trace)


def test_rollouts_are_copied_with_it_and_pickled_without():
    rollouts = drawn(policy_of("qwen3"))
    assert copy.deepcopy(rollouts).tokens_NT.equal(rollouts.tokens_NT)
    read = pickle.loads(pickle.dumps(rollouts))
    assert read.trace is None and read.tokens_NT.equal(rollouts.tokens_NT)


def test_weights_of_inference_mode_are_sampled():
    with torch.inference_mode():
        policy = policy_of("qwen3")
        assert drawn(policy).tokens_NT.shape[0] == 15


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


STAGES = {
    "one update": (ReasoningRLConfig, {}),
    "two minibatches": (ReasoningRLConfig, {"minibatches": 2}),
    "two epochs": (ReasoningRLConfig, {"num_iterations": 2}),
    "an adapter and its reference": (ReasoningRLConfig, {"loss": {"beta": 0.1}}),
    "ppo": (PPOConfig, {"critic": {"warmup_steps": 1}, "loss": {"beta": 0.1}}),
}


def trained(stage, traced):
    """Return the weights after three batches, and whether each forward pass was spared part."""
    kind, settings = STAGES[stage]
    policy = policy_of("qwen3", adapter="adapter" in stage)
    updates = settings.get("minibatches", 1) * settings.get("num_iterations", 1)
    config = kind(
        steps=3 * updates,
        questions_per_step=2,
        sampling=replace(PARAMS, n=4),
        optimizer={"lr": 1e-2},
        **settings,
    )
    batches = [Batch(prompts=[PROMPTS[p % 3].tolist()], columns={}, uids=[p]) for p in range(3 * 4)]
    run = reasoning_rl if kind is ReasoningRLConfig else ppo
    steps = list(run(policy, iter(batches), [RewardSpec.resolve(reward)], config))
    drew = [stats.rollouts for stats in steps if stats.rollouts is not None]
    assert len(drew) == 3 and all(rollouts.trace is None for rollouts in drew)
    return policy.model.state_dict(), list(traced)


def reward(completion_ids, **columns):
    return [float(sum(ids) % 5) for ids in completion_ids]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_learns_the_same_with_it(stage, traced, monkeypatch):
    mine, spared = trained(stage, traced)
    traced.clear()
    monkeypatch.setattr(policy_module, "TRACE_BYTES", 0)
    its, unspared = trained(stage, traced)
    assert all(torch.equal(mine[name], its[name]) for name in its)
    assert len(spared) == len(unspared) and not any(unspared)
    # Each batch's first update: the weights of later ones are others. In PPO those of the policy
    # after its critic's warm-up, and two of the critic: it begins with the policy's body, which its
    # first step leaves as it is, for the head is zero.
    assert sum(spared) == (4 if stage == "ppo" else 3)

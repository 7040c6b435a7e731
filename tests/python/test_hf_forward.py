"""The forward of any Hugging Face model: packed rows say and learn what padded ones do."""

from types import SimpleNamespace

import pytest
import torch
from engine_cases import CONFIGS, build
from hypothesis import given
from hypothesis import strategies as st
from models import gpt2_policy, qwen3_policy
from torch import nn
from transformers import GPT2Config

from r1core import hf_forward
from r1core.hf_forward import first_fit, packs
from r1core.policy import Policy
from r1core.sampling import sample_groups
from r1core.stages.minibatches import split_by_tokens
from r1core.types import SamplingParams

STOPS = (3, 20, 30, 40, 50, 60)  # so that lengths differ
PROMPTS = [[5, 6, 7, 8], [9], list(range(10, 41)), [11, 12, 13, 14, 15]]


def rollouts_of(policy, n=4):
    params = SamplingParams(n=n, max_new_tokens=30, temperature=0.8, stop_token_ids=STOPS)
    return sample_groups(policy, PROMPTS, params)


def learnt(policy, rollouts):
    """Return log-probabilities, entropies and every gradient of a mix of both."""
    policy.forward = "hf"
    policy.model.zero_grad()
    logprobs_NT, entropies_NT = policy.logprobs(rollouts)
    (logprobs_NT.square().sum() + entropies_NT.sum()).backward()
    gradients = {name: p.grad.clone() for name, p in policy.model.named_parameters()}
    return logprobs_NT.detach(), entropies_NT.detach(), gradients


def assert_alike(left, right):
    for mine, theirs in zip(left[:2], right[:2], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-5)
    for name, gradient in left[2].items():
        scale = right[2][name].norm().clamp(min=1e-3)
        assert (gradient - right[2][name]).norm() < 1e-4 * scale, name


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CONFIGS)
def test_packed_rows_say_and_learn_what_padded_ones_do(name, attention, monkeypatch):
    policy = Policy(build(name), None)
    policy.model.set_attn_implementation(attention)
    rollouts = rollouts_of(policy)
    packed = learnt(policy, rollouts)
    assert policy.layout == "packed"
    monkeypatch.setattr(hf_forward, "packs", lambda model: False)
    assert_alike(packed, learnt(policy, rollouts))


def test_a_sequence_does_not_see_its_neighbours():
    """Another neighbour in the same row changes nothing beyond rounding."""
    policy = qwen3_policy()
    policy.forward = "hf"
    rollouts = rollouts_of(policy)
    lengths = [len(PROMPTS[n // 4]) + int(rollouts.lengths_N[n]) for n in range(16)]
    places = first_fit(lengths, max(lengths))
    assert len({row for row, _ in places}) < 16, "some row must hold two"
    whole, _ = policy.logprobs(rollouts)
    for n in range(16):
        alone, _ = policy.logprobs(rollouts.rows(torch.tensor([n])))
        torch.testing.assert_close(alone[0], whole[n, : alone.shape[1]], rtol=0, atol=1e-5)


def test_the_head_runs_on_completion_tokens_alone():
    policy, seen = qwen3_policy(), []
    rollouts = rollouts_of(policy)
    policy.model.lm_head.register_forward_hook(lambda _, args, out: seen.append(out.shape[:-1]))
    policy.logprobs(rollouts)
    assert seen == [(int(rollouts.lengths_N.sum()),)]


def test_models_outside_the_table_are_padded():
    assert gpt2_policy().layout == "padded"
    softcapped = qwen3_policy()
    softcapped.model.config.final_logit_softcapping = 30.0
    assert not packs(softcapped.model)
    flash = qwen3_policy()
    flash.model.config._attn_implementation = "flash_attention_2"
    assert not packs(flash.model)


@given(lengths=st.lists(st.integers(1, 20), max_size=30))
def test_first_fit_never_overlaps_and_fills_the_first_row_with_room(lengths):
    used = {}
    for length, (row, start) in zip(lengths, first_fit(lengths, 20), strict=True):
        room = [row for row, end in used.items() if end + length <= 20]
        assert row == (min(room) if room else len(used)) and start == used.get(row, 0)
        used[row] = start + length


def fitted(lengths, budget):
    """The packed micro-batches by the rule alone: longest first, each where it finds room."""
    left = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    while left:
        row_length = lengths[left[0]]
        used, part = [0] * max(1, budget // row_length), []
        for n in left:
            room = [row for row, end in enumerate(used) if end + lengths[n] <= row_length]
            if room:
                used[room[0]] += lengths[n]
                part.append(n)
        yield part
        left = [n for n in left if n not in part]


def completions_of(lengths):
    """Only what a split looks at: prompts of no token, completions of these lengths."""
    return SimpleNamespace(
        prompt_tokens=[torch.empty(0)] * len(lengths), group_size=1, lengths_N=torch.tensor(lengths)
    )


@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=40), budget=st.integers(1, 120))
def test_packed_micro_batches_take_whatever_fits(lengths, budget):
    every_N = torch.ones(len(lengths), dtype=torch.bool)
    parts = split_by_tokens(completions_of(lengths), every_N, budget, layout="packed")
    assert [part.tolist() for part in parts] == list(fitted(lengths, budget))


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("budget", [1, 40, 100, 1000])
def test_a_micro_batch_keeps_to_the_budget_and_each_row_is_in_one(layout, budget, monkeypatch):
    policy, shapes = qwen3_policy(), []
    rollouts = rollouts_of(policy)
    chosen_N = torch.arange(16) % 5 != 1
    monkeypatch.setattr(hf_forward, "packs", lambda model: layout == "packed")
    policy.forward = "hf"
    assert policy.training_forward().fuses_loss  # which runs one token
    policy.model.model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    parts = list(split_by_tokens(rollouts, chosen_N, budget, layout=layout))
    assert sorted(torch.cat(parts).tolist()) == chosen_N.nonzero().flatten().tolist()
    for part in parts:
        policy.logprobs(rollouts.rows(part))
    assert all(B * C <= budget or B == 1 for B, C in shapes) and len(shapes) == len(parts)


def test_packing_takes_fewer_positions_than_padding():
    rollouts = rollouts_of(qwen3_policy())
    chosen_N = torch.ones(16, dtype=torch.bool)
    padded, packed = (
        [len(part) for part in split_by_tokens(rollouts, chosen_N, 300, layout=layout)]
        for layout in ("padded", "packed")
    )
    assert packed[0] > padded[0] and len(packed) < len(padded)


# Gradient checkpointing ---------------------------------------------------------------------------


def saved_bytes(policy, rollouts):
    """Return the bytes that a forward pass keeps for the backward pass."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        policy.logprobs(rollouts)
    return sum(kept.values())


@pytest.mark.parametrize("make", [qwen3_policy, gpt2_policy])
def test_gradient_checkpointing_changes_memory_and_no_bit(make):
    policy = make()
    policy.forward = "hf"
    rollouts = rollouts_of(policy)
    plain, kept = learnt(policy, rollouts), saved_bytes(policy, rollouts)
    policy.gradient_checkpointing = True
    checkpointed = learnt(policy, rollouts)
    assert all(torch.equal(a, b) for a, b in zip(plain[:2], checkpointed[:2], strict=True))
    assert all(torch.equal(plain[2][name], checkpointed[2][name]) for name in plain[2])
    assert saved_bytes(policy, rollouts) < 0.6 * kept
    assert policy.trainable_copy().gradient_checkpointing


def test_gradient_checkpointing_turns_no_dropout_on_and_leaves_sampling_alone():
    config = GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0.5)
    policy = Policy.from_config(config)
    rollouts = rollouts_of(policy)
    expected, _ = policy.logprobs(rollouts)
    policy.gradient_checkpointing = True
    assert torch.equal(policy.logprobs(rollouts)[0].detach(), expected.detach())
    assert not any(module.training for module in policy.model.modules())
    again = rollouts_of(policy)  # through the model's own forward, with its cache
    assert torch.equal(again.tokens_NT, rollouts.tokens_NT)


def test_a_model_that_cannot_checkpoint_says_so():
    policy = qwen3_policy()
    policy.model.model.layers = nn.ModuleList()
    with pytest.raises(ValueError, match="gradient_checkpointing"):
        policy.gradient_checkpointing = True

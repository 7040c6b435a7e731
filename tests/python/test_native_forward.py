"""Our own forward and backward: the sampler's bits, and the gradients of the module's own."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from engine_cases import CONFIGS, PROMPTS, build
from models import gpt2_policy, qwen3_policy
from native_cases import learnt, policy_of, rollouts_of, weights_of
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, GemmaConfig

from r1core import _C, forward, native_forward, notices
from r1core.critic import Critic
from r1core.decoder_spec import decoder_parameters, headless_spec
from r1core.stages.minibatches import split_by_tokens

THREADS = (1, 2, 5)


@pytest.fixture(autouse=True)
def threads_as_they_were():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def assert_same_bits(left, right):
    assert torch.equal(left[0], right[0]) and torch.equal(left[1], right[1])
    assert left[2].keys() == right[2].keys()
    for name, gradient in left[2].items():
        assert torch.equal(gradient, right[2][name]), name


# Against the module's own forward -----------------------------------------------------------------


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", CONFIGS)
def test_values_and_gradients_are_those_of_the_module(name, adapter):
    """In float64, where the module's own rounding is out of the way."""
    policy = policy_of(name, adapter=adapter)
    rollouts = rollouts_of(policy)
    native = learnt(policy, rollouts)
    policy.forward = "hf"
    policy.model.double()
    exact = learnt(policy, rollouts)
    for mine, true in zip(native[:2], exact[:2], strict=True):
        torch.testing.assert_close(mine, true.float(), rtol=0, atol=2e-5)
    assert native[2].keys() == exact[2].keys() and native[2]
    largest = max(g.norm() for g in exact[2].values())
    for name, gradient in native[2].items():
        # a key's bias moves every score of a query alike: its gradient is all rounding
        scale = max(exact[2][name].norm(), 1e-3 * largest)
        assert (gradient - exact[2][name]).norm() < 1e-5 * scale, name


def test_the_padding_token_gets_no_gradient_as_an_input():
    sizes = CONFIGS["gemma"].to_dict() | {"pad_token_id": int(PROMPTS[0][0])}
    policy = policy_of(GemmaConfig.from_dict(sizes))
    rollouts = rollouts_of(policy)
    native = learnt(policy, rollouts)[2]["model.embed_tokens.weight"]
    policy.forward = "hf"
    module = learnt(policy, rollouts)[2]["model.embed_tokens.weight"]
    torch.testing.assert_close(native, module, rtol=1e-4, atol=1e-4)


# The sampler's bits -------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_scores_are_the_samplers_bit_for_bit(name, dtype, adapter):
    policy = policy_of(name, dtype, adapter)
    rollouts = rollouts_of(policy)
    for threads in THREADS:
        torch.set_num_threads(threads)
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                logprobs_NT, entropies_NT = policy.logprobs(rollouts)
            assert torch.equal(logprobs_NT, rollouts.logprobs_NT)
            assert torch.equal(entropies_NT, rollouts.entropies_NT)


def test_scores_depend_neither_on_neighbours_nor_order_nor_group_size():
    policy = policy_of("qwen3")
    rollouts = rollouts_of(policy)
    parts = [torch.arange(15).flip(0), torch.arange(0, 15, 4), torch.tensor([7]), torch.arange(3)]
    for index in parts:
        T = int(rollouts.lengths_N[index].max())
        logprobs_RT, _ = policy.logprobs(rollouts.rows(index))
        assert torch.equal(logprobs_RT, rollouts.logprobs_NT[index, :T])


def test_each_prompt_runs_once_and_nothing_is_padded():
    policy = policy_of("qwen3")
    rollouts = rollouts_of(policy)
    rows = zip(rollouts.tokens_NT, rollouts.lengths_N.tolist(), strict=True)
    sequences = [torch.cat([PROMPTS[n // 5], row[:length]]) for n, (row, length) in enumerate(rows)]
    lengths = [len(PROMPTS[n // 5]) for n in range(15)]
    native = _C.Forward(headless_spec(policy.model), sequences, lengths, _C.Keep.nothing, 1)
    own = sum(len(s) - n - 1 for s, n in zip(sequences, lengths, strict=True))
    assert native.rows == sum(len(prompt) for prompt in PROMPTS) + own


# Gradients' bits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen3_tied_bias", "llama_odd_sizes", "gemma", "mistral_window"])
def test_gradients_depend_neither_on_threads_nor_on_recomputation(name):
    policy = policy_of(name)
    rollouts = rollouts_of(policy)
    torch.set_num_threads(1)
    expected = learnt(policy, rollouts)
    assert_same_bits(learnt(policy, rollouts), expected)
    for threads in THREADS:
        torch.set_num_threads(threads)
        for checkpointing in (False, True):
            policy.gradient_checkpointing = checkpointing
            assert_same_bits(learnt(policy, rollouts), expected)


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_bfloat16_gradients_are_those_of_its_float32_copy_rounded_once(adapter):
    policy = policy_of("llama_biases", torch.bfloat16, adapter)
    rollouts = rollouts_of(policy)
    rounded = learnt(policy, rollouts)
    policy.model.float()
    exact = learnt(policy, rollouts)
    assert_same_bits(rounded, (*exact[:2], {n: g.bfloat16() for n, g in exact[2].items()}))


def test_frozen_parameters_get_no_gradient_and_the_others_the_same():
    policy = policy_of("qwen3")
    rollouts = rollouts_of(policy)
    whole = learnt(policy, rollouts)
    for chosen in ("o_proj", "layers.1.mlp.up_proj", "lm_head", "model.norm", "embed_tokens"):
        for name, parameter in policy.model.named_parameters():
            parameter.requires_grad_(chosen in name)
        part = learnt(policy, rollouts)
        assert part[2] and all(chosen in name for name in part[2])
        assert_same_bits(part, (*whole[:2], {name: whole[2][name] for name in part[2]}))


def test_gradients_accumulate_and_a_graph_can_be_walked_twice():
    policy = policy_of("qwen3")
    rollouts = rollouts_of(policy)
    _, _, once = learnt(policy, rollouts)
    logprobs_NT, entropies_NT = policy.logprobs(rollouts)
    weights = weights_of(rollouts)
    loss = (logprobs_NT * weights[0] + entropies_NT * weights[1]).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    for name, parameter in policy.model.named_parameters():
        torch.testing.assert_close(parameter.grad, 3 * once[name])
    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()


def test_activations_go_with_the_backward_pass_though_the_scores_stay(monkeypatch):
    kept = []

    class Watched(_C.Forward):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            kept.append(weakref.ref(self))

    monkeypatch.setattr(native_forward._C, "Forward", Watched)
    policy = policy_of("qwen3")
    logprobs_NT, _ = policy.logprobs(rollouts_of(policy))
    kept = kept[-1:]
    gc.collect()
    assert kept[0]() is not None
    logprobs_NT.sum().backward()
    gc.collect()
    assert kept[0]() is None and logprobs_NT.grad_fn is not None


def test_torch_has_its_threads_again_after_a_backward_pass_even_an_interrupted_one(monkeypatch):
    policy = policy_of("qwen3")
    rollouts = rollouts_of(policy)
    torch.set_num_threads(3)
    policy.logprobs(rollouts)[0].sum().backward()
    assert torch.get_num_threads() == 3

    def interrupted(*_):
        raise KeyboardInterrupt

    logprobs_NT, _ = policy.logprobs(rollouts)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(native_forward, "like", interrupted)
        logprobs_NT.sum().backward()
    policy.logprobs(rollouts)
    assert torch.get_num_threads() == 3


def test_weights_that_change_before_the_backward_pass_are_an_error():
    policy = policy_of("qwen3")
    logprobs_NT, _ = policy.logprobs(rollouts_of(policy))
    with torch.no_grad():
        policy.model.model.norm.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        logprobs_NT.sum().backward()


def test_nothing_to_score_is_no_error():
    policy = policy_of("qwen3")
    rollouts = rollouts_of(policy)
    nothing = rollouts.rows(torch.zeros(0, dtype=torch.int64))
    assert policy.logprobs(nothing)[0].shape[0] == 0
    rollouts.lengths_N.zero_()  # every completion empty
    logprobs_NT, _ = policy.logprobs(rollouts)
    logprobs_NT.sum().backward()
    assert not logprobs_NT.any()
    assert all(not p.grad.any() for p in policy.parameters() if p.grad is not None)


def test_the_parameters_come_in_the_order_of_the_gradients():
    for name in CONFIGS:
        policy = policy_of(name, adapter=True)
        table = _C.parameters_of(headless_spec(policy.model))
        live = decoder_parameters(policy.model)
        assert [p.shape for p in live] == [t.shape for t in table]
        matrices = [(p, t) for p, t in zip(live, table, strict=True) if p.dim() == 2]
        assert all(p.data_ptr() == t.data_ptr() for p, t in matrices)


def test_bad_gradients_are_refused():
    model = build("qwen3")
    spec, tokens = headless_spec(model), [torch.tensor([1, 2, 3])]
    kept = _C.Forward(spec, tokens, [1], _C.Keep.all, 1)
    hidden_MH = kept.run()
    with pytest.raises(ValueError, match=r"grad_hidden must be contiguous float32 \[2, 32\]"):
        kept.backward(hidden_MH[:1], [True])
    with pytest.raises(ValueError, match="wanted must have one per parameter"):
        kept.backward(hidden_MH, [True])
    forgotten = _C.Forward(spec, tokens, [1], _C.Keep.nothing, 1)
    with pytest.raises(ValueError, match="must have kept its activations"):
        forgotten.backward(forgotten.run(), [True])


# What torch does around it ------------------------------------------------------------------------


def test_distributed_data_parallel_averages_the_gradients(tmp_path):
    script = Path(__file__).with_name("ddp_gradients.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, script, tmp_path / "gradients"], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    averaged = torch.load(tmp_path / "gradients")
    policy = policy_of("qwen3")
    rollouts = rollouts_of(policy)
    policy.logprobs(rollouts.rows(torch.arange(14)))[0].sum().backward()
    for name, parameter in policy.model.named_parameters():
        torch.testing.assert_close(averaged[name], parameter.grad / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own tracing
def test_torch_compile_breaks_the_graph_around_it():
    policy = policy_of("qwen3")
    rollouts = rollouts_of(policy)
    compiled = torch.compile(lambda: policy.logprobs(rollouts)[0] * 2, backend="eager")
    assert torch.equal(compiled(), policy.logprobs(rollouts)[0] * 2)


@pytest.mark.parametrize("name", ["qwen3", "gemma"])
def test_a_forward_is_of_the_weights_as_they_were(name):
    policy = policy_of(name)
    stale, rollouts = policy.training_forward(), rollouts_of(policy)
    with torch.no_grad():
        policy.model.model.norm.weight.mul_(2)
    with pytest.raises(RuntimeError, match="table is of weights that have changed since"):
        stale.completion_logprobs(rollouts)
    policy.training_forward().completion_logprobs(rollouts)


# Which forward ------------------------------------------------------------------------------------


def test_what_our_kernels_do_not_honour_goes_through_the_module(caplog):
    notices.say_once.cache_clear()
    policy = qwen3_policy()
    assert policy.layout == "shared"
    handle = policy.model.model.layers[0].mlp.register_full_backward_hook(lambda *_: None)
    assert policy.layout == "packed" and "has a backward hook" in caplog.text
    handle.remove()
    assert policy.layout == "shared"
    handle = policy.model.model.layers[0].mlp.register_forward_hook(lambda *_: None)
    assert "has a forward hook" in forward.native_reason(policy.model)
    handle.remove()
    policy.model.config.attention_dropout = 0.1
    assert forward.native_reason(policy.model) is None  # a policy is in eval mode
    policy.model.train()
    assert "attention_dropout is 0.1" in forward.native_reason(policy.model)
    caplog.clear()
    assert [policy.layout, policy.layout] == ["packed", "packed"]
    assert caplog.text.count("training through the model's own forward") == 1


def test_native_alone_is_an_error_where_it_cannot_be():
    policy = gpt2_policy()
    policy.forward = "native"
    with pytest.raises(ValueError, match=r'"native" needs a model .*; model_type is gpt2'):
        policy.logprobs(rollouts_of(policy, max_new_tokens=2))


def test_copies_run_as_the_policy_does():
    policy = qwen3_policy()
    policy.forward = "hf"
    assert policy.trainable_copy().forward == policy.frozen_copy().forward == "hf"


# Where it is used ---------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1, 40, 100, 1000])
def test_a_micro_batch_keeps_to_the_budget_and_shares_prompts(budget):
    policy = policy_of("qwen3")
    rollouts = rollouts_of(policy)
    chosen_N = torch.arange(15) % 4 != 1
    parts = list(split_by_tokens(rollouts, chosen_N, budget, layout="shared"))
    assert torch.cat(parts).tolist() == chosen_N.nonzero().flatten().tolist()
    for part in parts:
        prompts = {n // 5 for n in part.tolist()}
        tokens = sum(len(PROMPTS[p]) for p in prompts) + int(rollouts.lengths_N[part].sum())
        assert tokens <= budget or len(part) == 1
    assert len(parts) == {1: 11, 1000: 1}.get(budget, len(parts))


def test_critic_and_reward_model_say_what_their_modules_do():
    policy = qwen3_policy()
    policy.model.requires_grad_(True)
    rollouts = rollouts_of(policy)
    critic = Critic.from_policy(policy)
    nn.init.normal_(critic.model.lm_head.weight)
    sequences = [prompt.tolist() for prompt in PROMPTS]
    config = AutoConfig.for_model(**policy.model.config.to_dict() | {"num_labels": 1})
    torch.manual_seed(0)
    scorer = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).eval()
    assert forward.native_reason(scorer) is None

    def values(kind):
        critic.forward = kind
        critic.model.zero_grad()
        values_NT = critic.values(rollouts)
        values_NT.square().sum().backward()
        return values_NT.detach(), critic.model.model.embed_tokens.weight.grad.clone()

    def hidden(kind):
        scorer.zero_grad()
        hidden_NH = forward.training_forward(scorer, kind).last_hidden(sequences)
        hidden_NH.square().sum().backward()
        return hidden_NH.detach(), scorer.model.norm.weight.grad.clone()

    for run in (values, hidden):
        for mine, theirs in zip(run("native"), run("hf"), strict=True):
            assert (mine - theirs).norm() < 1e-5 * theirs.norm()


def test_a_training_curve_is_the_modules_own():
    """The same sequences, 30 steps of AdamW by either forward: the same losses within rounding."""

    def curve(kind):
        policy = qwen3_policy()
        rollouts = rollouts_of(policy)
        policy.forward = kind
        optimizer, losses = torch.optim.AdamW(policy.parameters(), lr=3e-3), []
        for _ in range(30):
            loss = -policy.logprobs(rollouts)[0].sum() / rollouts.lengths_N.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    native, module = curve("native"), curve("hf")
    assert native[-1] < 0.5 * native[0]
    assert native == pytest.approx(module, rel=2e-3)

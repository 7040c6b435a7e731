"""LoRA: the engine on live adapters, the base as reference, and what becomes of both on disk."""

import peft
import pytest
import torch
from engine_cases import (
    PROMPTS,
    STOPS,
    assert_same_bits,
    build,
    generate,
    prompts_of,
    sequences_of,
)
from models import llama_policy, qwen2_policy, qwen3_policy
from safetensors.torch import load_file

from r1core import lora
from r1core.engine import Engine
from r1core.grpo_loss import LossConfig
from r1core.policy import Policy
from r1core.rewards import RewardSpec
from r1core.sampling import sample_groups
from r1core.stages.reasoning_rl import Batch, ReasoningRLConfig, reasoning_rl
from r1core.types import SamplingParams

FAMILIES = ["gemma", "llama", "llama_biases", "llama_odd_sizes", "qwen2", "qwen3", "mistral"]


def adapted(name="qwen3", dtype=torch.float32, **settings):
    """Return a policy whose adapter does something: B is not 0."""
    policy = Policy(build(name, dtype), None)
    lora.add_lora(policy, lora.LoraSettings(**({"r": 3, "lora_alpha": 7} | settings)), seed=1)
    move(policy, 2)
    return policy


def move(policy, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in lora.adapter_parameters(policy).values():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))


def rollouts_of(policy):
    params = SamplingParams(n=2, max_new_tokens=6, stop_token_ids=(1,), seed=3)
    return sample_groups(policy, [[3, 4, 5], [9]], params)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("rank", [1, 3, 16])
def test_logprobs_match_transformers(name, rank):
    policy = adapted(name, r=rank)
    assert Engine.supports(policy.model) is None
    sequences = prompts_of(3, 17, 80)
    scored = Engine(policy.model).logprobs(sequences, [1, 16, 20])
    with lora.adapter_off(policy):
        base = Engine(policy.model).logprobs(sequences, [1, 16, 20])
    for tokens, start, (logprobs, _), (off, _) in zip(
        sequences, [1, 16, 20], scored, base, strict=True
    ):
        with torch.no_grad():
            logits = policy.model(tokens[None]).logits[0, start - 1 : -1].double()
        expected = logits.log_softmax(-1).gather(-1, tokens[start:, None]).squeeze(-1)
        # float32 sums in another order, through two layers
        torch.testing.assert_close(logprobs.double(), expected, rtol=2e-4, atol=2e-4)
        assert not torch.allclose(logprobs, off, atol=1e-2)  # the adapter matters


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_depend_neither_on_slots_nor_threads_nor_neighbours(dtype):
    engine = Engine(adapted(dtype=dtype).model)
    expected = generate(engine, slots=64, threads=1)
    for slots, threads in [(1, 1), (3, 2), (64, 2), (7, 3)]:
        assert_same_bits(generate(engine, slots=slots, threads=threads), expected)
    alone = generate(engine, PROMPTS[1:2], uids=[7])
    T = alone.tokens_NT.shape[1]
    assert torch.equal(alone.logprobs_NT, expected.logprobs_NT[5:10, :T])
    scored = engine.logprobs(
        sequences_of(expected, PROMPTS, 5),
        [len(PROMPTS[i // 5]) for i in range(15)],
        temperature=0.8,
    )
    for row, length, (logprobs, _) in zip(
        expected.logprobs_NT, expected.lengths_N.tolist(), scored, strict=True
    ):
        assert torch.equal(row[:length], logprobs)


def test_an_optimizer_step_on_the_adapter_reaches_the_next_rollout():
    policy = adapted()
    engine = Engine(policy.model)
    before = generate(engine)
    optimizer = torch.optim.SGD([p for p in policy.parameters() if p.requires_grad], lr=0.1)
    policy.model(PROMPTS[2][None], labels=PROMPTS[2][None]).loss.backward()
    optimizer.step()
    after = generate(engine)
    assert not torch.equal(before.logprobs_NT[:, 0], after.logprobs_NT[:, 0])
    assert_same_bits(after, generate(Engine(policy.model)))


def test_adapter_off_is_the_base_exactly_and_a_fresh_adapter_changes_nothing():
    base = generate(Engine(build("qwen3")))
    policy = adapted()
    on = generate(Engine(policy.model))
    with lora.adapter_off(policy):
        assert_same_bits(generate(Engine(policy.model)), base)
    assert_same_bits(generate(Engine(policy.model)), on)
    fresh = lora.add_lora(Policy(build("qwen3"), None), lora.LoraSettings(), seed=0)
    assert_same_bits(generate(Engine(fresh.model)), base)


def test_only_the_adapter_trains_and_its_seed_decides_it():
    state = torch.get_rng_state()
    one, two, other = (
        lora.add_lora(Policy(build("qwen3"), None), lora.LoraSettings(), seed=seed)
        for seed in (4, 4, 5)
    )
    left, right, third = map(lora.adapter_parameters, (one, two, other))
    trained = {name for name, p in one.model.named_parameters() if p.requires_grad}
    assert trained == set(left) and len(left) == 2 * 7 * 2
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert any(not torch.equal(left[name], third[name]) for name in left)
    assert len(state) == len(torch.get_rng_state())


def test_the_reference_is_the_base_until_it_is_refreshed():
    policy = adapted()
    rollouts = rollouts_of(policy)
    base = Policy(build("qwen3"), None)
    reference = lora.AdapterReference(policy)
    assert torch.equal(reference.logprobs(rollouts)[0], base.logprobs(rollouts)[0].detach())
    pointers = [p.data_ptr() for p in policy.parameters()]
    reference.load_from(policy)
    refreshed = policy.logprobs(rollouts)[0].detach()
    move(policy, 6)
    moved = policy.logprobs(rollouts)[0].detach()
    assert torch.equal(reference.logprobs(rollouts)[0], refreshed)
    assert torch.equal(policy.logprobs(rollouts)[0].detach(), moved)
    assert pointers == [p.data_ptr() for p in policy.parameters()]
    assert not torch.equal(moved, refreshed)

    again = lora.AdapterReference(policy)
    again.load_state_dict(reference.state_dict())
    assert torch.equal(again.logprobs(rollouts)[0], refreshed)
    again.load_state_dict({})
    assert torch.equal(again.logprobs(rollouts)[0], base.logprobs(rollouts)[0].detach())
    with pytest.raises(ValueError, match="must hold the tensors of the policy's adapter"):
        again.load_state_dict({"x": torch.zeros(1)})


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's call
def test_a_saved_adapter_loads_here_and_in_peft(tmp_path):
    base = tmp_path / "base"
    Policy(build("qwen3"), None).save_pretrained(base)
    from transformers import AutoModelForCausalLM

    policy = Policy(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), None)
    lora.add_lora(policy, lora.LoraSettings(r=3), seed=1)
    move(policy, 2)
    lora.save_adapter(policy, tmp_path / "adapter")
    names = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= names
    assert "model.safetensors" not in names
    expected = generate(Engine(policy.model))
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    loaded = lora.load_adapter(Policy(plain, None), tmp_path / "adapter")
    assert_same_bits(generate(Engine(loaded.model)), expected)
    assert {n for n, p in loaded.model.named_parameters() if p.requires_grad} == set(
        lora.adapter_parameters(loaded)
    )
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        ours = policy.model(PROMPTS[2][None]).logits
        assert torch.equal(theirs(PROMPTS[2][None]).logits, ours)


def test_merging_gives_an_ordinary_policy(tmp_path):
    policy = adapted("llama_biases")
    merged = lora.merge_lora(policy)
    assert not lora.has_lora(merged) and lora.has_lora(policy)
    assert set(merged.state_dict()) == set(build("llama_biases").state_dict())
    with torch.no_grad():
        left, right = (p.model(PROMPTS[2][None]).logits for p in (merged, policy))
    torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-3)  # W + s B A is rounded once
    merged.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()


def test_a_loaded_adapter_merges_into_an_ordinary_directory(tmp_path):
    policy = adapted("qwen2")
    move(policy, 1)
    lora.save_adapter(policy, tmp_path / "adapter")
    loaded = lora.load_adapter(Policy(build("qwen2"), None), tmp_path / "adapter")
    lora.merge_lora(loaded).save_pretrained(tmp_path / "merged")
    names = load_file(tmp_path / "merged" / "model.safetensors").keys()
    assert set(names) == set(build("qwen2").state_dict())


def sevens(completion_ids, **columns):
    return [float(ids.count(7)) for ids in completion_ids]


def batches():
    step = 0
    while True:
        yield Batch(prompts=[[1, 2, 3], [4, 5]], columns={}, uids=[2 * step, 2 * step + 1])
        step += 1


def test_a_lora_policy_learns_while_its_base_keeps_its_bits():
    # a frozen head of the usual tiny weights could not tell tokens apart
    model = qwen3_policy(vocab_size=10, initializer_range=0.2)
    policy = lora.add_lora(model, lora.LoraSettings(r=4), seed=0)
    adapter = set(lora.adapter_parameters(policy))
    base = {n: p.detach().clone() for n, p in policy.model.named_parameters() if n not in adapter}
    config = ReasoningRLConfig(
        steps=24,
        questions_per_step=2,
        sampling=SamplingParams(n=8, max_new_tokens=6, stop_token_ids=(0,)),
        optimizer={"lr": 2e-2},
        loss=LossConfig(loss_type="grpo", beta=1e-4),
        reference_every=20,
    )
    stats = list(reasoning_rl(policy, batches(), [RewardSpec.resolve(sevens)], config))
    rewards = [s.metrics["reward"] for s in stats]
    assert rewards[0] < 1 and min(rewards[-5:]) > 5  # of 6 tokens; a few steps suffice
    assert stats[0].metrics["kl"] == 0  # a fresh adapter: the policy is its reference
    assert stats[19].metrics["kl"] > 1e-5 and stats[20].metrics["kl"] == pytest.approx(0, abs=1e-9)
    live = dict(policy.model.named_parameters())
    assert all(torch.equal(live[name], tensor) for name, tensor in base.items())


def test_a_policys_copies_keep_to_the_adapter():
    policy = adapted()
    rollouts = rollouts_of(policy)
    reference = policy.frozen_copy()
    assert isinstance(reference, lora.AdapterReference)
    expected = policy.logprobs(rollouts)[0].detach()
    assert torch.equal(reference.logprobs(rollouts)[0], expected)  # a trained adapter is copied
    copy = policy.trainable_copy()
    trained = {name for name, p in copy.model.named_parameters() if p.requires_grad}
    assert trained == set(lora.adapter_parameters(copy))


UNSUPPORTED = {
    "dora": ({"use_dora": True}, "Dora"),
    "lora_bias": ({"lora_bias": True}, "lora_bias"),
    "modules_to_save": ({"modules_to_save": ["lm_head"]}, "ModulesToSaveWrapper"),
    "embedding": ({"target_modules": ["q_proj", "embed_tokens"]}, "Embedding"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_the_engine_does_not_honour_falls_back_with_its_reason(name):
    changes, reason = UNSUPPORTED[name]
    model = build("qwen3_tied_bias" if name == "lora_bias" else "qwen3")
    settings = {"r": 2, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    peft.inject_adapter_in_model(peft.LoraConfig(**(settings | changes)), model)
    assert reason in Engine.supports(model)
    assert Policy(model, None).engine is None


def test_two_active_adapters_fall_back_and_either_alone_does_not():
    model = build("qwen3")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"])
    peft.inject_adapter_in_model(config, model, "one")
    with pytest.warns(UserWarning, match="multiple adapters"):
        peft.inject_adapter_in_model(config, model, "two")
    layers = [m for m in model.modules() if hasattr(m, "lora_A")]

    def activate(names):
        for layer in layers:
            layer.set_adapter(names)

    activate(["one", "two"])
    assert "2 active adapters: one, two" in Engine.supports(model)
    activate("two")
    assert Engine.supports(model) is None


def test_an_adapter_of_another_model_does_not_load(tmp_path):
    lora.save_adapter(adapted("llama"), tmp_path)
    with pytest.raises(ValueError, match="must be an adapter of this model; Error"):
        lora.load_adapter(Policy(build("qwen3"), None), tmp_path)


@pytest.mark.parametrize("make", [qwen2_policy, llama_policy, qwen3_policy])
def test_the_test_models_sample_through_the_engine_with_lora(make):
    policy = lora.add_lora(make(), lora.LoraSettings(r=2), seed=0)
    assert policy.engine is not None
    assert generate(policy.engine, stops=STOPS).lengths_N.min() > 0

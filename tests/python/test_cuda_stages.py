"""Stages on a GPU: r1core's kernels for losses and sampling, the model's own forward between."""

from importlib import import_module

import pytest
import torch
from models import qwen2_policy, qwen3_policy

from r1core.data import Example
from r1core.grpo_loss import LossConfig, loss_normalizer
from r1core.pipeline import run_recipe
from r1core.policy import Policy
from r1core.recipe import load_recipe
from r1core.rewards import RewardSpec
from r1core.sampling import sample_groups
from r1core.stages.examples import as_rollouts
from r1core.stages.minibatches import Rows
from r1core.stages.policy_loss import apart, together
from r1core.stages.reasoning_rl import Batch, ReasoningRLConfig, reasoning_rl
from r1core.stages.rl_config import RLConfig
from r1core.stages.sft import SFTConfig, sft
from r1core.types import SamplingParams

pytestmark = pytest.mark.cuda


def sevens(completion_ids, **columns):
    return [float(ids.count(7)) for ids in completion_ids]


def batches():
    step = 0
    while True:
        yield Batch(prompts=[[1, 2, 3], [4, 5]], columns={}, uids=[2 * step, 2 * step + 1])
        step += 1


def gpu_policy(dtype=torch.float32, **sizes):
    policy = qwen3_policy(**sizes)
    return Policy(policy.model.to("cuda", dtype), policy.tokenizer)


def train(policy, steps, **changes):
    settings = {
        "steps": steps,
        "questions_per_step": 2,
        "sampling": SamplingParams(n=8, max_new_tokens=6, stop_token_ids=(0,)),
        "optimizer": {"lr": 3e-3},
        "loss": LossConfig(loss_type="grpo"),
    }
    config = ReasoningRLConfig(**(settings | changes))
    return list(reasoning_rl(policy, batches(), [RewardSpec.resolve(sevens)], config))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_toy_policy_learns(dtype):
    stats = train(gpu_policy(dtype, vocab_size=10), steps=60)
    rewards = [s.metrics["reward"] for s in stats]
    assert sum(rewards[-5:]) > 3 * sum(rewards[:5])
    difference = max(s.metrics.get("sampling/sampling_logp_difference/max", 0.0) for s in stats)
    assert difference < (1e-4 if dtype == torch.float32 else 0.2)  # two forwards of the module


def test_the_first_steps_are_those_of_the_cpu():
    here, there = train(qwen3_policy(), 3), train(gpu_policy(), 3)
    for mine, theirs in zip(here, there, strict=True):
        assert mine.rollouts.tokens_NT.tolist() == theirs.rollouts.tokens_NT.tolist()
        for key in ("policy_loss", "grad_norm", "reward"):
            assert mine.metrics[key] == pytest.approx(theirs.metrics[key], rel=1e-3, abs=1e-5)


def test_every_variant_of_an_update_runs():
    changes = {
        "loss": LossConfig(beta=0.04, importance_sampling_level="sequence", entropy_coef=0.01),
        "minibatches": 2,
        "num_iterations": 2,
        "importance_sampling_mode": "token_truncate",
    }
    stats = train(gpu_policy(), steps=4, **changes)
    assert all(s.metrics["kl"] >= 0 for s in stats[1:])
    assert all(torch.isfinite(torch.tensor(s.metrics["grad_norm"])) for s in stats)


def test_sampled_logprobs_are_the_trainers():
    policy = gpu_policy()
    rollouts = sample_groups(policy, [[1, 2, 3]], SamplingParams(n=16, max_new_tokens=20))
    with torch.no_grad():
        logprobs_NT, entropies_NT = policy.logprobs(rollouts)
    for ours, theirs in (
        (logprobs_NT, rollouts.logprobs_NT),
        (entropies_NT, rollouts.entropies_NT),
    ):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-4)


def micro_batch(policy, vocab, old=-6.0):
    """Return sixteen completions of 64 random tokens."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocab, (16, 64), generator=generator).tolist()
    rollouts = as_rollouts([Example([1, 2, 3], x) for x in ids])
    old_RT = torch.full((16, 64), old)
    return Rows(rollouts, rollouts.mask_NT, torch.randn(16, generator=generator), old_RT)


def learn(way, policy, rows, reference_RT=None):
    loss = LossConfig(loss_type="grpo", beta=0.0 if reference_RT is None else 0.04)
    policy.model.zero_grad()
    normalizer = loss_normalizer(rows.mask_RT, loss)
    found = way(policy.training_forward(), rows, RLConfig(steps=1), loss, normalizer, reference_RT)
    found.loss.backward()
    gradients = {name: p.grad.clone() for name, p in policy.model.named_parameters()}
    return found, gradients


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_ways_to_the_loss_are_one(dtype):
    policy = gpu_policy(dtype, vocab_size=997)
    rows = micro_batch(policy, 997)
    with torch.no_grad():
        reference_RT, _ = policy.logprobs(rows.rollouts)
    (one, left), (other, right) = (
        learn(way, policy, rows, reference_RT) for way in (together, apart)
    )
    assert reference_RT.is_cuda and policy.training_forward().fuses_loss
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.logprobs_RT, other.logprobs_RT.cpu(), rtol=0, atol=5e-5)
    assert abs(one.metrics.kl) < 1e-6  # also in bfloat16: both sides are scored alike
    rounding = 0.05 if dtype == torch.bfloat16 else 1e-3
    for name, gradient in left.items():
        scale = right[name].float().norm().clamp(min=1e-4)
        assert (gradient.float() - right[name].float()).norm() < rounding * scale, name


@pytest.mark.parametrize("way", [together, apart])
def test_the_logits_of_a_micro_batch_are_never_whole(way, monkeypatch):
    vocab = 50_000
    monkeypatch.setattr(import_module("r1core.grpo_loss_from_hidden"), "GPU_BUDGET", 2**24)
    policy = gpu_policy(vocab_size=vocab)
    rows = micro_batch(policy, vocab, old=-11.0)
    assert policy.training_forward().fuses_loss
    learn(way, policy, rows)  # cuBLAS takes its workspace
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    learn(way, policy, rows)
    whole_bytes = rows.mask_RT.numel() * vocab * 4
    assert torch.cuda.max_memory_allocated() - before < whole_bytes / 2


def test_sft_learns():
    examples = [Example([1, 2], [n, n + 1, 0]) for n in range(3, 9)]
    config = SFTConfig(epochs=40, batch_size=6, optimizer={"lr": 1e-2})
    losses = [s.metrics["loss"] for s in sft(gpu_policy(), examples, config)]
    assert losses[-1] < losses[0] / 2


def test_a_recipe_runs_on_the_gpu(tmp_path):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    (tmp_path / "questions").mkdir()
    for split in ("train", "test"):
        rows = '{"question": "1 + 1?", "answer": "Add. #### 2"}\n' * 8
        (tmp_path / "questions" / f"{split}.jsonl").write_text(rows)
    settings = ["model.device=cuda", f"zero.data.path={tmp_path / 'questions'}", "zero.steps=2"]
    settings += ["zero.questions_per_step=2", "zero.sampling.n=4", "zero.sampling.max_new_tokens=8"]
    settings += ["zero.evaluation.questions=3", "zero.tokens_per_micro_batch=4096"]
    recipe = load_recipe("gsm8k_zero", settings, model=str(tmp_path / "model"))
    run_recipe(recipe, tmp_path / "run")
    assert (tmp_path / "run/stages/zero/model.safetensors").exists()

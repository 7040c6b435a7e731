"""The loss of a model's own forward: without whole logits what it is with them."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch
from hf_families import MORE, PLAIN, family, rollouts_of
from packed_case import peak_bytes
from transformers import LlamaConfig

from r1core import forward, hf_forward
from r1core.data import Example
from r1core.grpo_loss import LossConfig, loss_normalizer
from r1core.policy import Policy
from r1core.rewards import RewardSpec
from r1core.stages.examples import as_rollouts
from r1core.stages.minibatches import Rows
from r1core.stages.policy_loss import apart, policy_loss, together
from r1core.stages.reasoning_rl import Batch, ReasoningRLConfig, reasoning_rl
from r1core.stages.rl_config import RLConfig
from r1core.stages.sft import SFTConfig, evaluation_loss, sft
from r1core.types import SamplingParams

HIDDEN = import_module("r1core.grpo_loss_from_hidden")  # the package has a function so called
LOSSES = {
    "r1": LossConfig.r1(),
    "dapo": LossConfig(epsilon=0.05),
    "dr_grpo_kl": LossConfig(loss_type="dr_grpo", beta=0.1, kl_estimator="k1", epsilon=0.05),
    "cispo": LossConfig(loss_type="cispo", epsilon_high=1.05, beta=0.1),
    "entropy": LossConfig(beta=0.1, entropy_coef=0.02),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Several chunks a call."""
    monkeypatch.setattr(HIDDEN, "CPU_BUDGET", 7 * 97 * 4)


def rows_of(policy, old=True):
    """Return rows whose ratio is near 1, with tokens and a whole row left out."""
    rollouts = rollouts_of(policy)
    N, T = rollouts.tokens_NT.shape
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    mask_NT = rollouts.mask_NT & (draw(N, T) < 1)
    mask_NT[4] = False
    old_NT = rollouts.logprobs_NT + 0.1 * draw(N, T)
    return Rows(rollouts, mask_NT, draw(N), old_NT if old else None)


def learn(way, policy, rows, loss=LOSSES["r1"], settings=None):
    """Return what a way finds, and the gradients by name."""
    policy.model.zero_grad()
    reference_RT = rows.rollouts.logprobs_NT - 0.05 if loss.beta > 0 else None
    normalizer = loss_normalizer(rows.mask_RT, loss)
    found = way(
        policy.training_forward(),
        rows,
        settings or RLConfig(steps=1),
        loss,
        normalizer,
        reference_RT,
    )
    found.loss.backward()
    named = policy.model.named_parameters()
    return found, {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.fixture
def whole(monkeypatch):
    """Return a way by the logits of all tokens, as the model's own head gives them."""

    def way(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(forward, "head_reason", lambda model: "a test")
            return apart(*arguments)

    return way


def assert_alike(one, other, mask_RT):
    (one, left), (other, right) = one, other
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        one.logprobs_RT[mask_RT], other.logprobs_RT[mask_RT], rtol=0, atol=2e-5
    )
    known = {key: value for key, value in vars(other.metrics).items() if value is not None}
    measured = vars(one.metrics)
    assert {key for key in measured if measured[key] is not None} == known.keys()
    for key, value in known.items():
        assert measured[key] == pytest.approx(value, rel=1e-4, abs=1e-6), key
    assert left.keys() == right.keys() and left
    norm = torch.cat([g.flatten() for g in right.values()]).norm()
    for name, gradient in left.items():
        assert gradient.dtype == right[name].dtype
        assert (gradient - right[name]).norm() < 2e-5 * norm, name


@pytest.mark.parametrize("name", PLAIN)
def test_every_family_learns_the_same(name, whole):
    policy = family(name)
    rows = rows_of(policy)
    expected = learn(whole, policy, rows)
    for way in (together, apart):
        found = learn(way, policy, rows)
        assert_alike(found, expected, rows.mask_RT)
    assert not found[0].logprobs_RT.requires_grad


@pytest.mark.parametrize("old", [True, False], ids=["off", "on"])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_so_it_does_by_every_loss(loss, old, whole):
    policy = family("phi")
    rows = rows_of(policy, old)
    found, expected = (learn(way, policy, rows, loss) for way in (together, whole))
    assert_alike(found, expected, rows.mask_RT)
    assert not found[0].logprobs_RT[~rows.mask_RT].any()


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
def test_so_it_does_in_every_setting(adapter, checkpointing, layout, whole, monkeypatch):
    policy = family("llama_tied", adapter)
    monkeypatch.setattr(hf_forward, "packs", lambda model: layout == "packed")
    policy.gradient_checkpointing = checkpointing
    rows = replace(rows_of(policy), advantages=torch.randn(9, 12))
    found, expected = (learn(way, policy, rows) for way in (together, whole))
    assert_alike(found, expected, rows.mask_RT)
    assert adapter == ("model.embed_tokens.weight" not in found[1])


def test_so_it_does_with_weights_against_the_sampler(whole):
    policy, settings = family("gpt2"), RLConfig(steps=1, importance_sampling_mode="token_truncate")
    rows = rows_of(policy)
    found, expected = (learn(way, policy, rows, settings=settings) for way in (together, whole))
    assert_alike(found, expected, rows.mask_RT)
    assert torch.equal(found[0].ratios, expected[0].ratios)


def test_bfloat16_scores_are_alike_where_they_are_compared():
    """The policy that is scored before an update is the one that the update compares with."""
    policy = Policy(family("gpt2").model.to(torch.bfloat16), None)
    rows = rows_of(policy)
    with torch.no_grad():
        old_RT, _ = policy.logprobs(rows.rollouts)
    rows = replace(rows, old_logprobs_RT=old_RT)
    loss = LossConfig(loss_type="grpo", epsilon=1e-6, beta=0.1)
    normalizer = loss_normalizer(rows.mask_RT, loss)
    for way in (together, apart):
        found = way(policy.training_forward(), rows, RLConfig(steps=1), loss, normalizer, old_RT)
        torch.testing.assert_close(
            found.logprobs_RT[rows.mask_RT], old_RT[rows.mask_RT], rtol=0, atol=2e-6
        )
        assert found.metrics.kl == pytest.approx(0, abs=1e-9)


# Which way ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MORE, "gpt2"])
def test_only_models_that_do_more_to_logits_hold_them_whole(name, monkeypatch):
    policy, calls = family(name), []
    rows = rows_of(policy)
    logits = hf_forward.completion_logits
    monkeypatch.setattr(
        hf_forward, "completion_logits", lambda *a, **k: calls.append(1) or logits(*a, **k)
    )
    loss = LossConfig()
    found = policy_loss(
        policy.training_forward(),
        rows,
        RLConfig(steps=1),
        loss=loss,
        normalizer=loss_normalizer(rows.mask_RT, loss),
        reference_logprobs=None,
    )
    found.loss.backward()
    assert len(calls) == (name in MORE)


def test_entropies_have_no_graph_without_a_coefficient(monkeypatch):
    """Their graph would keep what it saved until the next micro-batch."""
    policy, seen = family("gemma2"), []
    loss_of = apart.__globals__["grpo_loss"]
    monkeypatch.setitem(
        apart.__globals__,
        "grpo_loss",
        lambda *a, **k: seen.append(k["entropies"].requires_grad) or loss_of(*a, **k),
    )
    rows = rows_of(policy)
    learn(apart, policy, rows, LOSSES["dapo"])
    learn(apart, policy, rows, LOSSES["entropy"])
    assert seen == [False, True]


@pytest.mark.parametrize("way", [together, apart])
def test_the_logits_of_a_micro_batch_are_never_whole(way, monkeypatch):
    vocab = 20_000
    monkeypatch.setattr(HIDDEN, "CPU_BUDGET", 16 * vocab * 4)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        tie_word_embeddings=True,
    )
    policy = Policy.from_config(config)
    policy.forward = "hf"
    assert policy.training_forward().fuses_loss
    ids_NT = torch.randint(vocab, (8, 32), generator=torch.Generator().manual_seed(0))
    rollouts = as_rollouts([Example([1, 2], ids) for ids in ids_NT.tolist()])
    rows = Rows(rollouts, rollouts.mask_NT, torch.randn(8), torch.full((8, 32), -9.0))
    whole_bytes = ids_NT.numel() * vocab * 4
    peak = peak_bytes(lambda: learn(way, policy, rows, LOSSES["dapo"]))
    assert peak < whole_bytes / 4


# Stages -------------------------------------------------------------------------------------------


def sevens(completion_ids, **columns):
    return [float(sum(token < 40 for token in ids)) for ids in completion_ids]


def curve():
    """Return what four updates of a stage measure."""
    config = ReasoningRLConfig(
        steps=4,
        questions_per_step=2,
        minibatches=2,
        sampling=SamplingParams(n=4, max_new_tokens=8, stop_token_ids=(3,)),
        optimizer={"lr": 1e-2},
        loss=LossConfig(loss_type="grpo", beta=0.05),
        tokens_per_micro_batch=40,
    )
    batches = (
        Batch(prompts=[[1, 2, 3], [4, 5]], columns={}, uids=[2 * i, 2 * i + 1]) for i in range(9)
    )
    stats = list(reasoning_rl(family("gpt2"), batches, [RewardSpec.resolve(sevens)], config))
    return [s.metrics for s in stats]


def test_a_stage_learns_what_it_did_by_whole_logits(monkeypatch):
    found = curve()
    monkeypatch.setattr(forward, "head_reason", lambda model: "a test")
    for mine, theirs in zip(found, curve(), strict=True):
        assert mine.keys() == theirs.keys()
        assert {"policy_loss", "kl", "grad_norm"} <= mine.keys()
        for key in {"policy_loss", "kl", "grad_norm", "reward"} & mine.keys():
            assert mine[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-5), key


def test_so_does_fine_tuning(monkeypatch):
    examples = [Example([1, 2], [n, n + 1, 0]) for n in range(3, 9)]
    config = SFTConfig(epochs=2, batch_size=3, optimizer={"lr": 1e-2})
    curves = []
    for reason in (None, "a test"):
        monkeypatch.setattr(forward, "head_reason", lambda model, reason=reason: reason)
        policy = family("gpt2")
        curves.append([s.metrics for s in sft(policy, examples, config)])
        curves[-1].append({"loss": evaluation_loss(policy, examples, config)})
    for mine, theirs in zip(*curves, strict=True):
        for key in {"loss", "entropy", "grad_norm"} & mine.keys():
            assert mine[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-5), key

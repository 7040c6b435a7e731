"""The two ways to the loss of a micro-batch: the same log-probabilities, loss and gradient."""

from dataclasses import replace

import pytest
import torch
from native_cases import policy_of, rollouts_of
from torch import nn

import r1core.stages.policy_loss as stage
from r1core import lora
from r1core.grpo_loss import LossConfig, LossNormalizer, loss_normalizer
from r1core.stages.minibatches import Rows, micro_batches
from r1core.stages.policy_loss import apart, policy_loss, together
from r1core.stages.rl_config import RLConfig

SETTINGS = RLConfig(steps=1)
LOSSES = {
    "r1": LossConfig.r1(),
    "grpo": LossConfig(loss_type="grpo", epsilon=0.05, epsilon_high=0.02, delta=1.1),
    "dapo": LossConfig(epsilon=0.05),
    "dr_grpo": LossConfig(loss_type="dr_grpo", beta=0.1, kl_estimator="k1", epsilon=0.05),
    "cispo": LossConfig(loss_type="cispo", epsilon_high=1.05),
    "cispo_kl": LossConfig(loss_type="cispo", epsilon_high=1.05, beta=0.1),
    "sapo": LossConfig(loss_type="sapo"),
    "sapo_kl": LossConfig(loss_type="sapo", beta=0.1, kl_estimator="k2"),
    "entropy": LossConfig(beta=0.1, entropy_coef=0.02),
}


def rows_of(policy, on_policy=False, per_token=False):
    """Return rows whose ratio is near 1, with tokens and a whole row left out."""
    rollouts = rollouts_of(policy)
    rollouts = rollouts.rows(torch.arange(rollouts.num_rows))
    N, T = rollouts.tokens_NT.shape
    generator = torch.Generator().manual_seed(3)
    mask_NT = rollouts.mask_NT & (torch.rand(N, T, generator=generator) < 0.8)
    mask_NT[4] = False
    advantages = torch.randn((N, T) if per_token else (N,), generator=generator)
    old_NT = rollouts.logprobs_NT + 0.1 * torch.randn(N, T, generator=generator)
    return Rows(rollouts, mask_NT, advantages, None if on_policy else old_NT)


def learn(way, policy, rows, loss=LOSSES["r1"], settings=SETTINGS):
    """Return what one way finds, and the gradients by name."""
    policy.model.zero_grad()
    found = accumulate(way, policy, rows, loss, settings)
    return found, gradients_of(policy)


def accumulate(way, policy, rows, loss=LOSSES["r1"], settings=SETTINGS, normalizer=None):
    normalizer = normalizer or loss_normalizer(rows.mask_RT, loss)
    reference_RT = rows.rollouts.logprobs_NT - 0.05 if loss.beta > 0 else None
    found = way(policy.training_forward(), rows, settings, loss, normalizer, reference_RT)
    found.loss.backward()
    return found


def gradients_of(policy):
    named = policy.model.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def assert_same(one, other, mask):
    """Bit for bit, but for a sum of entropies in float64 and the same in float32."""
    (one, left), (other, right) = one, other
    assert torch.equal(one.logprobs_RT[mask], other.logprobs_RT[mask])
    assert replace(one.metrics, entropy=0) == replace(other.metrics, entropy=0)
    assert one.metrics.entropy == pytest.approx(other.metrics.entropy, rel=1e-6)
    assert_same_gradients(left, right)


def assert_same_gradients(left, right):
    assert left.keys() == right.keys() and left
    for name, gradient in left.items():
        assert gradient.dtype == right[name].dtype
        assert torch.equal(gradient, right[name]), name


# Equal bits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_policy", [True, False], ids=["on", "off"])
@pytest.mark.parametrize("name", LOSSES)
def test_both_ways_find_the_same_bits(name, on_policy):
    policy, loss = policy_of("qwen3"), LOSSES[name]
    rows = rows_of(policy, on_policy)
    one, other = (learn(way, policy, rows, loss) for way in (together, apart))
    assert_same(one, other, rows.mask_RT)
    if loss.entropy_coef == 0:
        assert torch.equal(one[0].loss, other[0].loss)
    else:
        torch.testing.assert_close(one[0].loss, other[0].loss, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("loss", ["r1", "entropy"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["qwen3_tied_bias", "llama_odd_sizes", "gemma"])
def test_so_they_do_for_every_kind_of_model(name, dtype, adapter, loss):
    policy = policy_of(name, dtype, adapter)
    rows = rows_of(policy)
    ways = [learn(way, policy, rows, LOSSES[loss]) for way in (together, apart)]
    assert_same(*ways, rows.mask_RT)


def test_so_they_do_with_an_adapter_of_the_head():
    policy = policy_of("qwen3")
    lora.add_lora(policy, lora.LoraSettings(r=3, target_modules=["lm_head", "q_proj"]), seed=1)
    with torch.no_grad():
        for parameter in lora.adapter_parameters(policy).values():
            parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(2))
    rows = rows_of(policy)
    one, other = learn(together, policy, rows), learn(apart, policy, rows)
    assert any("lm_head" in name for name in one[1])
    assert_same(one, other, rows.mask_RT)


def test_so_they_do_with_a_bias_of_the_head_where_no_token_lacks_a_gradient():
    policy = policy_of("qwen3")
    policy.model.lm_head.bias = nn.Parameter(torch.linspace(-1, 1, 97))
    rows = rows_of(policy, on_policy=True)
    one, other = learn(together, policy, rows), learn(apart, policy, rows)
    assert one[1]["lm_head.bias"].any()
    assert_same(one, other, rows.mask_RT)


@pytest.mark.parametrize("loss", ["dapo", "entropy"])
def test_so_they_do_for_advantages_per_token(loss):
    policy = policy_of("qwen3")
    rows = rows_of(policy, per_token=True)
    assert_same(
        *(learn(way, policy, rows, LOSSES[loss]) for way in (together, apart)), rows.mask_RT
    )


def test_so_they_do_with_weights_against_the_sampler_once_the_old_policy_is_known():
    policy = policy_of("qwen3")
    rows, settings = rows_of(policy), RLConfig(steps=1, importance_sampling_mode="token_truncate")
    one, other = (learn(way, policy, rows, settings=settings) for way in (together, apart))
    assert_same(one, other, rows.mask_RT)
    assert torch.equal(one[0].ratios, other[0].ratios) and not (one[0].ratios == 1).all()


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
def test_bits_do_not_depend_on_threads(checkpointing):
    policy = policy_of("qwen3_tied_bias")
    policy.gradient_checkpointing = checkpointing
    rows = rows_of(policy)
    torch.set_num_threads(1)
    expected = learn(together, policy, rows)
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        assert_same(learn(together, policy, rows), expected, rows.mask_RT)


# What is asked for --------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", ["lm_head", "layers.1.mlp", "embed_tokens", "norm"])
def test_frozen_parameters_get_no_gradient_and_the_others_the_same(chosen):
    policy = policy_of("qwen3")
    rows = rows_of(policy)
    _, whole = learn(together, policy, rows)
    for name, parameter in policy.model.named_parameters():
        parameter.requires_grad_(chosen in name)
    _, part = learn(together, policy, rows)
    assert_same_gradients(part, {name: g for name, g in whole.items() if chosen in name})


def test_a_policy_that_is_frozen_has_the_loss_without_a_gradient():
    policy = policy_of("qwen3")
    rows = rows_of(policy)
    expected, _ = learn(together, policy, rows)
    policy.model.requires_grad_(False)
    normalizer = loss_normalizer(rows.mask_RT, LOSSES["r1"])
    reference_RT = rows.rollouts.logprobs_NT - 0.05
    found = together(
        policy.training_forward(), rows, SETTINGS, LOSSES["r1"], normalizer, reference_RT
    )
    assert torch.equal(found.loss, expected.loss) and not found.loss.requires_grad


def test_the_ratio_is_exactly_one_where_the_policy_drew_the_tokens():
    policy, loss = policy_of("qwen3"), LossConfig(loss_type="grpo", epsilon=1e-12)
    rows = rows_of(policy)
    old = replace(rows, old_logprobs_RT=rows.rollouts.logprobs_NT)
    none = replace(rows, old_logprobs_RT=None)
    one, other = learn(together, policy, old, loss), learn(together, policy, none, loss)
    assert_same(one, other, rows.mask_RT)
    assert torch.equal(one[0].loss, other[0].loss)
    assert one[0].metrics.low_clipped == one[0].metrics.high_clipped == 0
    chosen_RT = rows.mask_RT
    assert torch.equal(one[0].logprobs_RT[chosen_RT], rows.rollouts.logprobs_NT[chosen_RT])
    assert not one[0].logprobs_RT[~chosen_RT].any()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_micro_batches_add_up(loss):
    policy = policy_of("qwen3")
    rows = rows_of(policy)
    whole = learn(together, policy, rows, loss)
    sums = []
    for way in (together, apart):
        policy.model.zero_grad()
        parts = [
            accumulate(way, policy, part, loss, normalizer=normalizer)
            for part, normalizer in micro_batches(rows, loss, 60, layout="shared")
        ]
        assert len(parts) > 2
        sums.append(gradients_of(policy))
        total = sum(part.loss.item() for part in parts)
        assert total == pytest.approx(whole[0].loss.item(), abs=1e-6)
    assert_same_gradients(*sums)
    norm = torch.cat([g.flatten() for g in whole[1].values()]).norm()
    for name, gradient in sums[0].items():  # float32 sums in another order
        assert (gradient - whole[1][name]).norm() < 1e-5 * norm, name


def test_a_loss_scales_its_gradient_and_goes_backward_once():
    policy = policy_of("qwen3")
    rows = rows_of(policy)
    _, once = learn(together, policy, rows)
    policy.model.zero_grad()
    normalizer = loss_normalizer(rows.mask_RT, LOSSES["r1"])
    arguments = (rows, SETTINGS, LOSSES["r1"], normalizer, rows.rollouts.logprobs_NT - 0.05)
    scaled = together(policy.training_forward(), *arguments).loss * 4
    scaled.backward(retain_graph=True)
    for name, gradient in gradients_of(policy).items():
        torch.testing.assert_close(gradient, 4 * once[name], rtol=1e-6, atol=1e-9)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        scaled.backward()


def test_no_row_is_no_error():
    policy = policy_of("qwen3")
    nothing = rows_of(policy, on_policy=True).choose(torch.zeros(0, dtype=torch.int64))
    found = accumulate(together, policy, nothing, normalizer=LossNormalizer(1.0, 1.0))
    assert found.loss == 0 and found.logprobs_RT.shape[0] == 0


# Which way ----------------------------------------------------------------------------------------


@pytest.fixture
def ways(monkeypatch):
    """The names of the ways that were gone, in order."""
    gone = []
    for way in (together, apart):
        monkeypatch.setattr(
            stage, way.__name__, lambda *a, way=way: gone.append(way.__name__) or way(*a)
        )
    return gone


@pytest.mark.parametrize(
    ("way", "on_policy", "forward", "loss", "settings"),
    [
        ("together", True, "auto", {}, {}),
        ("together", False, "native", {}, {}),
        ("together", True, "hf", {}, {}),
        ("apart", True, "hf", {"importance_sampling_level": "sequence"}, {}),
        ("apart", True, "hf", {}, {"importance_sampling_mode": "token_truncate"}),
        ("together", False, "hf", {}, {"importance_sampling_mode": "token_truncate"}),
        ("apart", True, "auto", {"importance_sampling_level": "sequence"}, {}),
        ("apart", True, "auto", {}, {"importance_sampling_mode": "token_truncate"}),
        ("together", False, "auto", {}, {"importance_sampling_mode": "token_truncate"}),
    ],
)
def test_the_head_runs_once_where_a_tokens_gradient_is_its_own(
    ways, way, on_policy, forward, loss, settings
):
    policy = policy_of("qwen3")
    policy.forward = forward
    config = LossConfig(**loss)
    rows = rows_of(policy, on_policy)
    found = policy_loss(
        policy.training_forward(),
        rows,
        RLConfig(steps=1, **settings),
        loss=config,
        normalizer=loss_normalizer(rows.mask_RT, config),
        reference_logprobs=None,
    )
    found.loss.backward()
    assert ways == [way]

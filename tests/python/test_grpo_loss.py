from dataclasses import replace

import pytest
import torch

from r1core import oracle
from r1core.grpo_loss import LossConfig, grpo_loss, loss_normalizer

LOSS_TYPES = ["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo"]


def case(N=5, T=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    logprobs = -draw(N, T).abs()
    old, reference = logprobs + 0.4 * draw(N, T), logprobs + 0.3 * draw(N, T)
    mask = torch.rand(N, T, generator=generator) > 0.3
    return logprobs, old, reference, draw(N), mask


def policy_settings(loss_type):
    """Bounds that cut some of the tokens of `case`, as LossConfig and the oracle name them."""
    if loss_type == "sapo":
        return {"sapo_temperature_pos": 1.3, "sapo_temperature_neg": 2.0}
    return {"epsilon_high": 1.1} if loss_type == "cispo" else {"epsilon_high": 0.28, "delta": 1.6}


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("kl_estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("N,T", [(1, 1), (5, 7), (17, 31)])
def test_loss_and_gradient_match_the_oracle(N, T, loss_type, level, kl_estimator, corrected):
    logprobs, old, reference, advantages, mask = case(N, T)
    if N > 3:
        mask[3] = False
    weights, entropies = logprobs.exp(), logprobs.square()
    settings = policy_settings(loss_type) | {
        "loss_type": loss_type,
        "importance_sampling_level": level,
        "beta": 0.1,
        "kl_estimator": kl_estimator,
        "use_bias_correction_kl": corrected,
        "entropy_coef": 0.03,
    }
    ours, theirs, our_entropies, their_entropies = (
        x.clone().requires_grad_() for x in (logprobs, logprobs, entropies, entropies)
    )
    loss, metrics = grpo_loss(
        ours,
        advantages,
        mask=mask,
        old_logprobs=old,
        reference_logprobs=reference,
        importance_weights=weights,
        entropies=our_entropies,
        config=LossConfig(**settings),
    )
    advantages_NT = advantages[:, None].expand(N, T)
    expected = oracle.grpo_loss(
        theirs, advantages_NT, mask, old, reference, weights, their_entropies, **settings
    )
    torch.testing.assert_close(loss, expected)
    (3 * loss).backward()
    (3 * expected).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(our_entropies.grad, their_entropies.grad)
    assert metrics.entropy == pytest.approx(entropies[mask].mean().item() if mask.any() else 0)
    bonus = 0.03 * metrics.entropy
    assert metrics.policy_loss == pytest.approx(expected.item() + bonus)
    if not corrected:
        kl = oracle.kl(logprobs, reference, kl_estimator)[mask]
        assert metrics.kl == pytest.approx(kl.mean().item() if len(kl) else 0)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_gradcheck(loss_type, level):
    logprobs, old, reference, advantages, mask = case()
    if loss_type == "cispo":  # its ratio is held: differences see the gradient of a constant one
        old = None
    config = LossConfig(
        **policy_settings(loss_type),
        loss_type=loss_type,
        importance_sampling_level=level,
        beta=0.1,
        use_bias_correction_kl=old is not None,
    )
    assert torch.autograd.gradcheck(
        lambda x: grpo_loss(
            x, advantages, mask=mask, old_logprobs=old, reference_logprobs=reference, config=config
        )[0],
        (logprobs.requires_grad_(),),
    )


def test_the_entropy_bonus_raises_the_entropy_of_the_masked_tokens():
    logprobs, _, _, advantages, mask = case()
    entropies = torch.rand(5, 7, dtype=torch.float64).requires_grad_()
    config = LossConfig(entropy_coef=0.02)
    plain, _ = grpo_loss(logprobs, advantages, mask=mask, config=LossConfig())
    loss, _ = grpo_loss(logprobs, advantages, mask=mask, entropies=entropies, config=config)
    torch.testing.assert_close(loss, plain - 0.02 * entropies[mask].mean())
    loss.backward()
    torch.testing.assert_close(entropies.grad, -0.02 * mask.double() / mask.sum())
    with pytest.raises(ValueError, match="entropies must be given where entropy_coef is not 0"):
        grpo_loss(logprobs, advantages, mask=mask, config=config)


def test_float32_log_probabilities_give_float32_results_and_masked_ones_are_never_read():
    logprobs, old, _, advantages, mask = case(N=17, T=31)
    single = logprobs.float().where(mask, torch.nan).requires_grad_()
    loss, _ = grpo_loss(single, advantages, mask=mask, old_logprobs=old, config=LossConfig())
    loss.backward()
    expected, _ = grpo_loss(logprobs, advantages, mask=mask, old_logprobs=old, config=LossConfig())
    assert loss.dtype == single.grad.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    assert (single.grad[~mask] == 0).all()


def test_advantages_may_differ_per_token_and_tensors_may_be_strided():
    logprobs, old, _, advantages, mask = case()
    expected, _ = grpo_loss(logprobs, advantages, mask=mask, old_logprobs=old, config=LossConfig())
    strided = (x.T.contiguous().T for x in (logprobs, old, mask))
    strided_logprobs, strided_old, strided_mask = strided
    actual, _ = grpo_loss(
        strided_logprobs,
        advantages[:, None].expand(5, 7),
        mask=strided_mask,
        old_logprobs=strided_old,
        config=LossConfig(),
    )
    assert torch.equal(actual, expected)


def test_without_old_logprobs_the_ratio_is_exactly_one():
    logprobs, _, _, advantages, mask = case()
    logprobs.requires_grad_()
    loss, metrics = grpo_loss(logprobs, advantages, mask=mask, config=LossConfig())
    loss.backward()
    expected = -(advantages[:, None] * mask) / mask.sum()
    torch.testing.assert_close(logprobs.grad, expected, rtol=1e-15, atol=0)
    assert metrics.as_dict()["clip_ratio/region_mean"] == 0


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_log_probability_without_a_ratio_gives_nan(value, level, loss_type):
    logprobs, old, _, advantages, mask = case()
    mask[1, 2], logprobs[1, 2] = True, value
    config = LossConfig(loss_type=loss_type, importance_sampling_level=level)
    for old_logprobs in [None] if value == -torch.inf else [None, old]:
        ours = logprobs.clone().requires_grad_()
        loss, _ = grpo_loss(ours, advantages, mask=mask, old_logprobs=old_logprobs, config=config)
        loss.backward()
        assert loss.isnan() and ours.grad[1, 2].isnan() and ours.grad[0].isfinite().all()


def test_clip_shares_count_the_tokens_whose_gradient_is_cut():
    logprobs = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    old = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)  # ratio e and 1/e
    loss, metrics = grpo_loss(
        logprobs,
        torch.tensor([1.0, -1.0]),
        mask=torch.ones(2, 2, dtype=torch.bool),
        old_logprobs=old,
        config=LossConfig(),
    )
    loss.backward()
    assert (logprobs.grad == 0).tolist() == [[True, False], [False, True]]
    assert (metrics.high_clipped, metrics.low_clipped) == (0.25, 0.25)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_micro_batches_add_up_to_the_whole_batch(loss_type):
    logprobs, old, reference, advantages, mask = case(N=6)
    config = LossConfig(loss_type=loss_type, beta=0.05)
    normalizer = loss_normalizer(mask, config)

    def loss(rows):
        return grpo_loss(
            logprobs[rows],
            advantages[rows],
            mask=mask[rows],
            old_logprobs=old[rows],
            reference_logprobs=reference[rows],
            normalizer=normalizer,
            config=config,
        )[0]

    torch.testing.assert_close(loss(slice(0, 2)) + loss(slice(2, 6)), loss(slice(0, 6)))


def test_a_row_without_tokens_changes_nothing():
    logprobs, old, _, advantages, mask = case()
    mask[2] = False
    kept = [0, 1, 3, 4]
    for loss_type in LOSS_TYPES:
        config = LossConfig(loss_type=loss_type)
        whole, _ = grpo_loss(logprobs, advantages, mask=mask, old_logprobs=old, config=config)
        part, _ = grpo_loss(
            logprobs[kept], advantages[kept], mask=mask[kept], old_logprobs=old[kept], config=config
        )
        torch.testing.assert_close(whole, part)


def test_an_empty_mask_gives_zero():
    logprobs, _, _, advantages, mask = case()
    loss, _ = grpo_loss(
        logprobs, advantages, mask=mask & False, config=LossConfig(loss_type="grpo")
    )
    assert loss.item() == 0


def test_importance_weights_scale_the_policy_term():
    logprobs, old, _, advantages, mask = case()
    config = LossConfig()
    plain, _ = grpo_loss(logprobs, advantages, mask=mask, old_logprobs=old, config=config)
    half = torch.full_like(logprobs, 0.5)
    weighted, _ = grpo_loss(
        logprobs, advantages, mask=mask, old_logprobs=old, importance_weights=half, config=config
    )
    torch.testing.assert_close(weighted, plain / 2)


def test_cispo_and_sapo_report_what_they_cut():
    logprobs, old, _, advantages, mask = case(N=17, T=31)
    arguments = {"mask": mask, "old_logprobs": old}
    cispo = LossConfig(loss_type="cispo", epsilon_high=1.1)
    _, metrics = grpo_loss(logprobs, advantages, **arguments, config=cispo)
    capped = ((logprobs - old).exp() > 1.1) & (advantages > 0)[:, None]
    assert metrics.as_dict()["cispo_clip_ratio"] == pytest.approx(capped[mask].double().mean())
    _, metrics = grpo_loss(logprobs, advantages, **arguments, config=LossConfig(loss_type="sapo"))
    assert set(metrics.as_dict()) == {"policy_loss"}


def test_r1_is_the_papers_setting():
    config = LossConfig.r1()
    assert (config.loss_type, config.epsilon, config.beta, config.kl_estimator) == (
        "grpo",
        10.0,
        0.001,
        "k3",
    )


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"epsilon": 0}, "epsilon must be > 0; got 0"),
        ({"loss_type": "ppo"}, "loss_type must be grpo, dr_grpo, dapo, bnpo, cispo or sapo"),
        ({"loss_type": "sapo", "delta": 2.0}, "delta must be None for sapo; got 2.0"),
        ({"sapo_temperature_neg": 0}, "sapo_temperature_neg must be > 0; got 0"),
        ({"beta": -1}, "beta must be >= 0; got -1"),
        ({"delta": 1.1}, r"delta must be > 1 \+ epsilon_high or None; got 1.1"),
        ({"importance_sampling_level": "row"}, "importance_sampling_level must be token or seq"),
        ({"entropy_coef": float("nan")}, "entropy_coef must be finite; got nan"),
        ({"kl_estimator": "k4"}, "kl_estimator must be k1, k2 or k3; got k4"),
    ],
)
def test_loss_config_rejects(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(LossConfig(), **changes)


def test_grpo_loss_rejects_what_does_not_fit():
    logprobs, old, _, advantages, mask = case()
    with pytest.raises(ValueError, match=r"advantages must be \[N\] or \[N, T\].*got \[3\]"):
        grpo_loss(logprobs, advantages[:3], mask=mask, config=LossConfig())
    with pytest.raises(ValueError, match=r"old_logprobs must be \[N, T\]"):
        grpo_loss(logprobs, advantages, mask=mask, old_logprobs=old[:2], config=LossConfig())
    with pytest.raises(ValueError, match="reference_logprobs must be given where beta > 0"):
        grpo_loss(logprobs, advantages, mask=mask, config=LossConfig.r1())


def test_two_runs_give_the_same_bits_compiled_or_not():
    logprobs, old, _, advantages, mask = case(N=17, T=31)

    def loss(x):
        return grpo_loss(x, advantages, mask=mask, old_logprobs=old, config=LossConfig())[0]

    assert torch.equal(loss(logprobs), loss(logprobs))
    compiled = torch.compile(loss, backend="eager")
    assert torch.equal(compiled(logprobs), loss(logprobs))


def test_the_op_is_well_registered_and_traces_whole():
    logprobs, old, reference, advantages, mask = case()
    op = torch.ops.r1core.grpo_loss.default
    starts, weights = torch.arange(6) * 7, 0.1 * mask.double()
    options = LossConfig(beta=0.1, delta=2.0).options()
    advantages_NT = advantages[:, None].expand(5, 7)
    rest = (starts, advantages_NT, weights, old, reference, None, *options)
    logprobs.requires_grad_()
    torch.library.opcheck(op, (logprobs, *rest))
    compiled = torch.compile(lambda x: op(x, *rest)[0], backend="eager", fullgraph=True)
    assert torch.equal(compiled(logprobs), op(logprobs, *rest)[0])

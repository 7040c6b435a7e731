from dataclasses import replace

import pytest
import torch
from packed_case import (
    CONFIGS,
    LENGTHS,
    STARTS,
    TEMPERATURE,
    Case,
    N,
    gradients,
    leaf,
    name,
    peak_bytes,
)

from r1core import _C
from r1core.grpo_loss import LossConfig, LossNormalizer
from r1core.grpo_loss_from_logits import grpo_loss_from_logits


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_from_logits_gives_the_bits_of_the_first_door(config):
    case = Case()
    ours, theirs = leaf(case.logits_MV), leaf(case.logits_MV)
    expected, expected_metrics = case.from_logprobs(theirs, config)
    loss, metrics = case.from_logits(ours, config)
    # The entropy bonus alone is summed in float there and in double here.
    torch.testing.assert_close(loss, expected, rtol=1e-6 if config.entropy_coef else 0, atol=0)
    (gradient,), (expected_gradient,) = gradients(loss, ours), gradients(expected, theirs)
    # Scaling by 2 is exact, so only the order of factors differs, where there are two gradients.
    bits = 1e-6 if config.entropy_coef else 0
    torch.testing.assert_close(gradient, expected_gradient, rtol=bits, atol=bits / 100)
    assert (gradient[~case.mask_M] == 0).all()
    assert replace(metrics, entropy=None) == replace(expected_metrics, entropy=None)
    assert metrics.entropy == pytest.approx(expected_metrics.entropy, rel=1e-6)


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_from_logits_matches_the_oracle(config):
    case = Case()
    ours, theirs = leaf(case.logits_MV), leaf(case.logits_MV.double())
    loss, expected = case.from_logits(ours, config)[0], case.exact(theirs, config)
    # fp32 log-probabilities of up to 20 nats: 1e-6 each, times ratios and advantages of a few.
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    (gradient,), (expected_gradient,) = gradients(loss, ours), gradients(expected, theirs)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_bfloat16_logits_are_read_exactly_and_their_gradient_is_rounded_once(level):
    case, config = Case(), replace(CONFIGS[0], importance_sampling_level=level)
    narrow = case.logits_MV.bfloat16()
    ours, theirs = leaf(narrow), leaf(narrow.float())
    loss, _ = case.from_logits(ours, config)
    expected, _ = case.from_logits(theirs, config)
    assert torch.equal(loss, expected)
    loss.backward(), expected.backward()
    assert torch.equal(ours.grad, theirs.grad.bfloat16())


def test_without_grad_the_logits_are_only_read():
    case = Case()
    for config in CONFIGS[:2]:
        before = leaf(case.logits_MV)
        with torch.no_grad():
            loss, _ = case.from_logits(before, config)
        assert torch.equal(before, case.logits_MV) and not loss.requires_grad
        assert torch.equal(case.from_logits(case.logits_MV, config)[0], loss)
        torch.testing.assert_close(case.from_logits(before, config)[0], loss, rtol=0, atol=0)


@pytest.mark.parametrize("config", CONFIGS[:2], ids=name)
def test_logits_of_tokens_that_do_not_count_may_hold_anything(config):
    case = Case()
    expected, _ = case.from_logits(case.logits_MV, config)
    case.logits_MV[~case.mask_M] = torch.nan
    logits_MV = leaf(case.logits_MV)
    loss, _ = case.from_logits(logits_MV, config)
    loss.backward()
    assert torch.equal(loss, expected) and (logits_MV.grad[~case.mask_M] == 0).all()


@pytest.mark.parametrize("loss_type", ["dapo", "cispo", "sapo"])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_logits_that_are_nan_give_a_nan_loss_and_gradient(level, loss_type):
    case = Case()
    case.per_token = {key: x for key, x in case.per_token.items() if key == "mask"}
    row = int(case.mask_M.nonzero()[0])
    case.logits_MV[row, 3] = torch.nan
    logits_MV = leaf(case.logits_MV)
    config = LossConfig(loss_type=loss_type, importance_sampling_level=level)
    loss, _ = case.from_logits(logits_MV, config)
    loss.backward()
    assert loss.isnan() and logits_MV.grad[row].isnan().all()
    assert logits_MV.grad[-1].isfinite().all()


def test_the_gradient_lies_where_the_logits_were_and_autograd_knows():
    case, config = Case(), LossConfig(beta=0.1)
    hidden = leaf(case.hidden_MH)
    logits = hidden @ case.head_VH.T
    squares = logits.square().sum()  # has saved the logits
    memory, version = logits.data_ptr(), logits._version
    loss, _ = case.from_logits(logits, config)
    assert logits.data_ptr() == memory and logits._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        squares.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # would scale the gradient twice
    root = leaf(case.logits_MV)
    loss, _ = case.from_logits(root, config)
    loss.backward()
    assert root.grad.data_ptr() == root.data_ptr()  # no copy on the way


def test_strided_logits_are_copied_and_left_alone():
    case, config = Case(), LossConfig(beta=0.1)
    strided = case.logits_MV.t().contiguous().t().requires_grad_()
    loss, _ = case.from_logits(strided, config)
    loss.backward()
    packed = leaf(case.logits_MV)
    case.from_logits(packed, config)[0].backward()
    assert torch.equal(strided.grad, packed.grad) and torch.equal(strided, case.logits_MV)


@pytest.mark.skipif(_C.best_isa() != "avx512", reason="compares AVX2 with AVX-512")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("config", CONFIGS[:2], ids=name)
def test_avx2_and_avx512_give_the_same_bits(config, dtype):
    case, results = Case(), {}
    try:
        for isa in ("avx2", "avx512"):
            _C.set_isa(isa)
            logits = leaf(case.logits_MV.to(dtype))
            loss, _ = case.from_logits(logits, config)
            results[isa] = [loss, *gradients(loss, logits)]
    finally:
        _C.set_isa(_C.best_isa())
    assert all(map(torch.equal, results["avx2"], results["avx512"]))


@pytest.mark.parametrize("config", CONFIGS[:12], ids=name)
def test_micro_batches_add_up_to_the_whole_batch(config):
    case = Case()
    config = replace(config, max_completion_length=16)
    whole = leaf(case.logits_MV)
    loss, metrics = case.from_logits(whole, config)
    (expected,) = gradients(loss, whole)
    counts = torch.stack(
        [case.mask_M[a:b].sum() for a, b in zip(STARTS[:-1], STARTS[1:], strict=True)]
    )
    rows, tokens = int((counts > 0).sum()), int(counts.sum())
    divisor = {"grpo": rows, "sapo": rows, "dr_grpo": rows * 16}.get(config.loss_type, tokens)
    total, parts = 0.0, []
    for begin, end in ((0, 3), (3, N)):
        tokens_of = slice(int(STARTS[begin]), int(STARTS[end]))
        part = leaf(case.logits_MV[tokens_of])
        loss_part, _ = grpo_loss_from_logits(
            part,
            case.tokens_M[tokens_of],
            STARTS[begin : end + 1] - STARTS[begin],
            case.advantages_N[begin:end],
            **{key: value[tokens_of] for key, value in case.per_token.items()},
            temperature=TEMPERATURE,
            normalizer=LossNormalizer(float(divisor), float(tokens)),
            config=config,
        )
        parts.append(gradients(loss_part, part)[0])
        total += loss_part.item()
    assert total == pytest.approx(loss.item(), abs=1e-6)
    torch.testing.assert_close(torch.cat(parts), expected, rtol=1e-6, atol=1e-9)


def test_the_peak_sees_a_temporary_of_the_size_of_the_logits():
    logits = torch.zeros(64, 8_192)
    assert peak_bytes(lambda: (logits + 1).sum()) >= logits.nbytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("config", CONFIGS[:2], ids=name)
def test_from_logits_holds_no_temporary_of_their_size(config, dtype):
    rows, vocab = 64, 8_192
    logits = torch.zeros(rows, vocab, dtype=dtype).requires_grad_()
    ids, starts = torch.zeros(rows, dtype=torch.int64), torch.tensor([0, 20, rows])

    def step():
        arguments = {"reference_logprobs": torch.zeros(rows), "config": config}
        loss, _ = grpo_loss_from_logits(logits, ids, starts, torch.ones(2), **arguments)
        (2 * loss).backward()

    assert peak_bytes(step) < 0.05 * logits.nbytes


def test_advantages_may_differ_per_token():
    case, config = Case(), LossConfig(beta=0.1)
    expected, _ = case.from_logits(case.logits_MV, config)
    case.advantages_N = case.advantages_N.repeat_interleave(torch.tensor(LENGTHS))
    assert torch.equal(case.from_logits(case.logits_MV, config)[0], expected)

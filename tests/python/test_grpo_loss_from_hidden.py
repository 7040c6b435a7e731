from dataclasses import replace

import pytest
import torch
from packed_case import (
    CONFIGS,
    STARTS,
    TEMPERATURE,
    Case,
    M,
    V,
    gradients,
    leaf,
    name,
    peak_bytes,
)

from r1core.grpo_loss import LossConfig
from r1core.grpo_loss_from_hidden import grpo_loss_from_hidden, packed_loss_from_hidden
from r1core.logprob import token_logprobs
from r1core.loss_tokens import pack_tokens


@pytest.mark.parametrize("rows", [1, 4, M])
@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_from_hidden_matches_the_oracle_in_chunks_of_any_size(config, rows):
    case = Case()
    ours = [leaf(x) for x in (case.hidden_MH, case.head_VH, case.bias_V)]
    theirs = [leaf(x.double()) for x in (case.hidden_MH, case.head_VH, case.bias_V)]
    budget = {"lm_head_bias": ours[2], "budget_bytes": rows * V * 4}
    loss, metrics = case.from_hidden(*ours[:2], config, **budget)
    expected = case.exact(theirs[0] @ theirs[1].T + theirs[2], config)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    for ours_g, theirs_g in zip(gradients(loss, *ours), gradients(expected, *theirs), strict=True):
        # As above; a sum over V = 1,037 or M = 23 terms adds its own rounding.
        torch.testing.assert_close(ours_g.double(), theirs_g, rtol=1e-4, atol=3e-6)
    assert metrics.tokens == int(case.mask_M.sum())


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("config", CONFIGS[:2], ids=name)
def test_logprobs_of_the_tokens_that_count_come_with_the_loss(config, grad):
    case = Case()
    packed = pack_tokens("test", M, STARTS, case.advantages_N, config=config, **case.per_token)
    factors = [x.clone().requires_grad_(grad) for x in (case.hidden_MH, case.head_VH, case.bias_V)]
    _, _, logprobs_M = packed_loss_from_hidden(
        *factors, case.tokens_M, packed, TEMPERATURE, budget_bytes=4 * V * 4
    )
    expected_M, _ = token_logprobs(case.logits_MV, case.tokens_M, temperature=TEMPERATURE)
    assert not logprobs_M.requires_grad and logprobs_M.dtype == torch.float32
    torch.testing.assert_close(logprobs_M, expected_M.where(case.mask_M, 0), rtol=0, atol=2e-5)


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_bfloat16_factors_keep_float32_logits(level):
    case, config = Case(), replace(CONFIGS[0], importance_sampling_level=level)
    factors = (case.hidden_MH.bfloat16(), case.head_VH.bfloat16())
    ours = [leaf(x) for x in factors]
    theirs = [leaf(x.float()) for x in factors]
    loss, _ = case.from_hidden(*ours, config, budget_bytes=5 * V * 4)
    expected, _ = case.from_hidden(*theirs, config, budget_bytes=5 * V * 4)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    for gradient, exact in zip(gradients(loss, *ours), gradients(expected, *theirs), strict=True):
        assert gradient.dtype == torch.bfloat16
        # One rounding to 8 bits: half a unit, 2^-8 of the value at most.
        torch.testing.assert_close(gradient.float(), exact, rtol=2**-8, atol=1e-8)


def test_a_bfloat16_head_is_widened_in_panels():
    generator = torch.Generator().manual_seed(0)
    wide_H = 9_000  # a panel holds 2^22 / H = 466 of the 1,000 rows
    hidden, head = (
        torch.randn(*shape, generator=generator).bfloat16() / 64
        for shape in ((3, wide_H), (1_000, wide_H))
    )
    ids, starts = torch.tensor([1, 500, 999]), torch.tensor([0, 3])
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        factors = [leaf(hidden.to(dtype)), leaf(head.to(dtype))]
        loss, _ = grpo_loss_from_hidden(
            *factors, ids, starts, torch.ones(1), config=LossConfig(entropy_coef=0.1)
        )
        results.append((loss, *gradients(loss, *factors)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours.float(), theirs, rtol=2**-8, atol=1e-7)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_frozen_factors_get_no_gradient(wanted):
    case, config = Case(), CONFIGS[0]
    every = [leaf(x) for x in (case.hidden_MH, case.head_VH, case.bias_V)]
    some = [leaf(x) for x in every]
    for i, factor in enumerate(some):
        factor.requires_grad_(i in wanted)
    case.from_hidden(*every[:2], config, lm_head_bias=every[2])[0].backward()
    case.from_hidden(*some[:2], config, lm_head_bias=some[2])[0].backward()
    for i, (one, all_) in enumerate(zip(some, every, strict=True)):
        assert torch.equal(one.grad, all_.grad) if i in wanted else one.grad is None


def test_a_tied_head_collects_both_of_its_gradients():
    case, config = Case(), CONFIGS[0]
    embedding, ids = leaf(case.head_VH), torch.arange(M)
    case.from_hidden(embedding[ids], embedding, config)[0].backward()
    theirs = leaf(case.head_VH.double())
    case.exact(theirs[ids] @ theirs.T, config).backward()
    torch.testing.assert_close(embedding.grad.double(), theirs.grad, rtol=1e-4, atol=3e-6)


@pytest.mark.parametrize("config", CONFIGS[:2], ids=name)
def test_from_hidden_holds_the_gradients_and_one_chunk_of_the_budget(config):
    rows, vocab, width, budget = 64, 8_192, 16, 10 * 8_192 * 4
    hidden, head = (torch.zeros(n, width).requires_grad_() for n in (rows, vocab))
    ids, starts = torch.zeros(rows, dtype=torch.int64), torch.tensor([0, 20, rows])

    def step():
        arguments = {"reference_logprobs": torch.zeros(rows), "config": config}
        loss, _ = grpo_loss_from_hidden(
            hidden, head, ids, starts, torch.ones(2), **arguments, budget_bytes=budget
        )
        (2 * loss).backward()

    assert peak_bytes(step) < budget + 1.05 * (hidden.nbytes + head.nbytes)

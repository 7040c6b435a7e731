"""Log-probabilities from hidden states: as from whole logits, in chunks of any size."""

import pytest
import torch
from packed_case import TEMPERATURE, Case, M, V, leaf, peak_bytes

from r1core import oracle
from r1core.logprobs_from_hidden import logprobs_from_hidden


def weighed(scored):
    """Return a sum in which every value has a weight of its own."""
    generator = torch.Generator().manual_seed(5)
    return sum((x * torch.randn(M, generator=generator).to(x.dtype)).sum() for x in scored)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 4, M])
def test_values_and_gradients_match_the_oracle(rows, bias):
    case = Case()
    given = [case.hidden_MH, case.head_VH] + [case.bias_V] * bias
    ours, theirs = [leaf(x) for x in given], [leaf(x.double()) for x in given]
    scored = logprobs_from_hidden(
        *ours[:2],
        case.tokens_M,
        lm_head_bias=ours[2] if bias else None,
        temperature=TEMPERATURE,
        budget_bytes=rows * V * 8,
    )
    logits_MV = theirs[0] @ theirs[1].T + (theirs[2] if bias else 0)
    expected = oracle.token_logprobs(logits_MV, case.tokens_M, temperature=TEMPERATURE)
    for mine, exact in zip(scored, expected, strict=True):
        torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=1e-5)
    weighed(scored).backward(), weighed(expected).backward()
    for mine, exact in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad.double(), exact.grad, rtol=1e-4, atol=1e-5)


def test_bfloat16_factors_have_float32_logits():
    case = Case()
    narrow = [leaf(x.bfloat16()) for x in (case.hidden_MH, case.head_VH)]
    wide = [leaf(x.detach().float()) for x in narrow]
    scored, expected = (logprobs_from_hidden(*x, case.tokens_M) for x in (narrow, wide))
    assert all(torch.equal(a, b) for a, b in zip(scored, expected, strict=True))
    weighed(scored).backward(), weighed(expected).backward()
    for mine, exact in zip(narrow, wide, strict=True):
        assert torch.equal(mine.grad, exact.grad.bfloat16())


def test_a_frozen_head_costs_no_gradient_and_no_token_is_no_error():
    case = Case()
    hidden_MH = leaf(case.hidden_MH)
    weighed(logprobs_from_hidden(hidden_MH, case.head_VH, case.tokens_M)).backward()
    assert hidden_MH.grad.any() and case.head_VH.grad is None
    none = logprobs_from_hidden(leaf(case.hidden_MH[:0]), leaf(case.head_VH), case.tokens_M[:0])
    sum(none).sum().backward()
    assert len(none[0]) == 0


def test_the_logits_are_never_whole():
    rows, vocab, budget = 64, 8_192, 10 * 8_192 * 8
    hidden, head = (torch.zeros(n, 16).requires_grad_() for n in (rows, vocab))

    def step():
        scored = logprobs_from_hidden(
            hidden, head, torch.zeros(rows, dtype=torch.int64), budget_bytes=budget
        )
        (scored[0].sum() + scored[1].sum()).backward()

    assert peak_bytes(step) < budget + 1.1 * (hidden.nbytes + head.nbytes)
    assert budget < rows * vocab * 4 / 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens_M": torch.full((M,), V)}, "tokens must be in"),
        ({"temperature": 0.0}, "temperature must be finite and > 0"),
    ],
)
def test_what_does_not_fit_is_an_error(changes, message):
    case = Case()
    arguments = {"tokens_M": case.tokens_M} | changes
    with pytest.raises(ValueError, match=message):
        logprobs_from_hidden(case.hidden_MH, case.head_VH, **arguments)

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from r1core import _C, oracle
from r1core.logprob import token_logprobs

SHAPES = [(0, 5), (1, 1), (3, 7), (5, 1025), (13, 4099)]


def sample(M, V, seed=0):
    generator = torch.Generator().manual_seed(seed + M * V)
    logits_MV = torch.randn(M, V, generator=generator) * 3
    return logits_MV, torch.randint(V, (M,), generator=generator)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("M,V", SHAPES)
def test_token_logprobs_match_the_oracle(M, V, temperature):
    logits_MV, tokens_M = sample(M, V)
    actual = token_logprobs(logits_MV, tokens_M, temperature=temperature)
    expected = oracle.token_logprobs(logits_MV.double(), tokens_M, temperature=temperature)
    for ours, theirs in zip(actual, expected, strict=True):
        # fp32 exponentials of values up to 20: a few ulp of the largest term.
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("M,V", SHAPES)
def test_token_logprobs_gradient_matches_the_oracle(M, V):
    logits_MV, tokens_M = sample(M, V)
    ours = logits_MV.requires_grad_()
    theirs = logits_MV.detach().double().requires_grad_()
    for function, leaf in ((token_logprobs, ours), (oracle.token_logprobs, theirs)):
        logprobs_M, entropies_M = function(leaf, tokens_M, temperature=0.7)
        (logprobs_M.sum() + 0.3 * entropies_M.sum()).backward()
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-5)


def test_token_logprobs_gradcheck():
    logits_MV, tokens_M = sample(4, 9)
    logits_MV = logits_MV.double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda logits: token_logprobs(logits, tokens_M, temperature=0.8), (logits_MV,)
    )


def test_token_logprobs_accept_bfloat16_and_strides():
    logits_MV, tokens_M = sample(5, 100)
    strided = logits_MV.bfloat16().t().contiguous().t().requires_grad_()
    logprobs_M, _ = token_logprobs(strided, tokens_M)
    expected, _ = token_logprobs(logits_MV.bfloat16().float(), tokens_M)
    assert torch.equal(logprobs_M, expected)
    logprobs_M.sum().backward()
    assert strided.grad.dtype == torch.bfloat16


def test_a_logit_of_minus_infinity_has_probability_zero():
    logits_MV = torch.tensor([[0.0, -torch.inf, 0.0]])
    logprobs_M, entropies_M = token_logprobs(logits_MV, torch.tensor([0]))
    torch.testing.assert_close(logprobs_M, torch.tensor([0.5]).log())
    torch.testing.assert_close(entropies_M, torch.tensor([2.0]).log())
    assert token_logprobs(logits_MV, torch.tensor([1]))[0].item() == -torch.inf


def test_float16_logits_are_read_as_float32():
    wide_MV = torch.randn(5, 300).half().float().requires_grad_()
    narrow_MV = wide_MV.detach().half().requires_grad_()
    tokens_M = torch.arange(5)
    ours, theirs = token_logprobs(narrow_MV, tokens_M), token_logprobs(wide_MV, tokens_M)
    assert all(map(torch.equal, ours, theirs))
    ours[0].sum().backward(), theirs[0].sum().backward()
    assert torch.equal(narrow_MV.grad, wide_MV.grad.half())


def test_float64_logits_on_a_gpu_are_read_as_float32():
    with FakeTensorMode():  # dtypes alone, which need no GPU
        for device, expected in (("cpu", torch.float64), ("cuda", torch.float32)):
            logits_MV = torch.empty(2, 9, dtype=torch.float64, device=device)
            tokens_M = torch.empty(2, dtype=torch.int64, device=device)
            assert token_logprobs(logits_MV, tokens_M)[0].dtype == expected


@pytest.mark.parametrize(
    "logits,tokens,temperature,message",
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), 1.0, r"logits must be \[M, V"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64), 1.0, r"tokens must be \[M = 2\]"),
        (torch.zeros(2, 3), torch.zeros(2), 1.0, "tokens must be int64"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), 1.0, r"tokens must be in \[0, 3\); got 3"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), 1.0, r"tokens must be in \[0, 3\); got -1"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), 0.0, "temperature must be finite and > 0; got 0"),
    ],
)
def test_token_logprobs_reject(logits, tokens, temperature, message):
    with pytest.raises(ValueError, match=message):
        token_logprobs(logits, tokens, temperature=temperature)


def test_either_output_alone_has_a_gradient_and_masked_rows_get_exactly_zero():
    logits_MV, tokens_M = sample(6, 1031)
    for output in (0, 1):
        ours, theirs = (logits_MV.double().float().requires_grad_() for _ in range(2))
        weights_M = torch.tensor([1.0, 0.0, -2.0, 0.0, 3.0, 1.0])
        (token_logprobs(ours, tokens_M, temperature=0.7)[output] * weights_M).sum().backward()
        expected = oracle.token_logprobs(theirs.double(), tokens_M, temperature=0.7)[output]
        (expected * weights_M).sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)
        assert (ours.grad[[1, 3]] == 0).all()


def test_the_op_is_well_registered_and_traces_whole():
    logits_MV, tokens_M = sample(4, 9)
    logits_MV.requires_grad_()
    torch.library.opcheck(torch.ops.r1core.token_logprobs.default, (logits_MV, tokens_M, 0.8))
    compiled = torch.compile(token_logprobs, backend="eager", fullgraph=True)
    assert torch.equal(compiled(logits_MV, tokens_M)[0], token_logprobs(logits_MV, tokens_M)[0])


@pytest.mark.skipif(_C.best_isa() != "avx512", reason="compares AVX2 with AVX-512")
def test_avx2_and_avx512_give_the_same_bits():
    logits_MV, tokens_M = sample(13, 4099)
    results = {}
    try:
        for isa in ("avx2", "avx512"):
            _C.set_isa(isa)
            leaf = logits_MV.clone().requires_grad_()
            logprobs_M, entropies_M = token_logprobs(leaf, tokens_M, temperature=0.7)
            (logprobs_M.sum() + entropies_M.sum()).backward()
            results[isa] = (logprobs_M, entropies_M, leaf.grad)
    finally:
        _C.set_isa(_C.best_isa())
    assert all(map(torch.equal, results["avx2"], results["avx512"]))

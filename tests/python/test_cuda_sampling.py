"""The GPU's sampler: the oracle's sets, the CPU's tokens and numbers, the scorer's bits."""

import warnings
from contextlib import contextmanager

import pytest
import torch
from scipy.stats import chisquare

from r1core import oracle
from r1core.logprob import token_logprobs
from r1core.sample_tokens import philox_uniforms, sample_tokens

pytestmark = pytest.mark.cuda
INF = torch.inf
FILTERS = [
    {},
    {"temperature": 0.6},
    {"top_k": 50},
    {"top_k": 3001},
    {"top_p": 0.9501},
    {"top_p": 0.50131},
    {"min_p": 0.02},
    {"temperature": 0.6, "top_k": 901, "top_p": 0.6113, "min_p": 1e-4},
]


def uniforms(N, seed=0):
    zeros = torch.zeros(N, dtype=torch.int64)
    return philox_uniforms(seed, torch.arange(N), zeros, zeros).cuda()


def normal(*shape, seed=0, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).mul(scale).cuda()


def rows(V):
    """Return rows that a selection could get wrong, [9, V]."""
    x = normal(V, seed=V)
    i = torch.arange(V, device="cuda")
    return torch.stack(
        [
            x,
            8 * x,  # one token has most of the mass
            x.mul(2).round(),  # thousands of ties
            torch.zeros_like(x),
            x * 1e-6,
            torch.where((x > 0) | (i == 0), x, -INF),
            torch.where(i == V // 2, 3.0, -INF),
            torch.where(i % 3 == 0, x + 40, -1e9),  # a mask as transformers writes it
            torch.linspace(-30, 30, V, device="cuda"),  # no part of it looks like the whole
        ]
    )


def same(left, right):
    return all(
        torch.equal(a.nan_to_num(nan=7.0), b.nan_to_num(nan=7.0))
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("V", [1, 2, 1023, 1024, 1025, 20_011, 129_280, 151_936, 270_001])
def test_the_kept_tokens_are_the_oracles(V, filters):
    for logits_V in rows(V):
        p_V = oracle.filtered_probabilities(logits_V.double(), **filters)
        tokens_N, _, truncated_N, _ = sample_tokens(
            logits_V.expand(40, V), uniforms(40, seed=V), **filters
        )
        assert (p_V[tokens_N] > 0).all()
        expected_N = p_V[tokens_N].log()
        torch.testing.assert_close(truncated_N.double(), expected_N, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("N,V", [(0, 5), (1, 1), (17, 96), (131, 5003), (133, 151_936)])
def test_it_draws_what_the_cpu_draws(N, V, dtype, filters):
    logits_NV, draws = normal(N, V, seed=1, scale=2.0).to(dtype), uniforms(N)
    gpu = [result.cpu() for result in sample_tokens(logits_NV, draws, **filters)]
    cpu = sample_tokens(logits_NV.cpu(), draws.cpu(), **filters)
    alike = gpu[0] == cpu[0]
    assert (~alike).sum() <= 1  # a uniform beside a boundary
    for actual, expected in zip(gpu[1:], cpu[1:], strict=True):
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual[alike], expected[alike], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_the_sampler_and_the_scorer_report_the_same_bits(filters):
    for V in (33, 2999, 151_936):
        logits_NV = normal(37, V, seed=V, scale=3.0).bfloat16()
        tokens_N, logprobs_N, _, entropies_N = sample_tokens(logits_NV, uniforms(37), **filters)
        temperature = filters.get("temperature", 1.0)
        scored = token_logprobs(logits_NV, tokens_N, temperature=temperature)
        assert same((logprobs_N, entropies_N), scored)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_runs_and_neighbours_change_no_bit(dtype, filters):
    logits_NV, draws = normal(300, 20_011, seed=2, scale=2.0).to(dtype), uniforms(300)
    together = sample_tokens(logits_NV, draws, **filters)
    for _ in range(5):
        assert same(together, sample_tokens(logits_NV, draws, **filters))
    for n in (0, 131, 299):
        alone = sample_tokens(logits_NV[n : n + 1], draws[n : n + 1], **filters)
        assert same(alone, [result[n : n + 1] for result in together])


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_bfloat16_strides_and_misaligned_rows_change_no_bit(filters):
    logits_NV, draws = normal(20, 5003, seed=3, scale=3.0).bfloat16(), uniforms(20)
    expected = sample_tokens(logits_NV, draws, **filters)
    assert same(expected, sample_tokens(logits_NV.float(), draws, **filters))
    padded = torch.zeros(20, 6000, dtype=torch.bfloat16, device="cuda")
    padded[:, 1:5004] = logits_NV
    assert same(expected, sample_tokens(padded[:, 1:5004], draws, **filters))
    assert same(expected, sample_tokens(logits_NV.t().contiguous().t(), draws, **filters))
    flat = torch.empty(20 * 5003 + 1, dtype=torch.bfloat16, device="cuda")
    shifted = flat[1:].view(20, 5003).copy_(logits_NV)  # contiguous, 2 bytes off
    assert same(expected, sample_tokens(shifted, draws, **filters))


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_frequencies_follow_the_filtered_distribution(filters):
    V, N = 96, 400_000
    logits_V = normal(V, seed=4, scale=2.0)
    tokens_N, *_ = sample_tokens(logits_V.expand(N, V), uniforms(N), **filters)
    counts_V = torch.bincount(tokens_N, minlength=V).double().cpu()
    p_V = oracle.filtered_probabilities(logits_V.double(), **filters).cpu()
    assert counts_V[p_V == 0].sum() == 0
    kept = p_V > 0
    assert chisquare(counts_V[kept], p_V[kept] * N).pvalue > 1e-3  # fixed seed


@pytest.mark.parametrize("filters", [{}, {"top_p": 0.9}, {"top_k": 20}], ids=str)
def test_masked_tokens_are_never_drawn_in_ten_million_draws(filters):
    N, V = 1_000_000, 50
    logits_V = normal(V, seed=5)
    logits_V[::3] = -INF
    allowed_V = oracle.filtered_probabilities(logits_V.double(), **filters) > 0
    for seed in range(10):
        tokens_N = sample_tokens(logits_V.expand(N, V), uniforms(N, seed), **filters)[0]
        assert torch.equal(torch.bincount(tokens_N, minlength=V) > 0, allowed_V)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_row_without_a_distribution_is_flagged_and_leaves_the_others_alone(filters):
    logits_NV = normal(9, 5003, seed=6)
    sound = sample_tokens(logits_NV, uniforms(9), **filters)
    logits_NV[1, 77] = torch.nan
    logits_NV[3] = -torch.nan
    logits_NV[5] = -INF
    logits_NV[7, -1] = INF
    results = sample_tokens(logits_NV, uniforms(9), **filters)
    flagged_N = torch.tensor([n in (1, 3, 5, 7) for n in range(9)], device="cuda")
    assert (results[0][flagged_N] == 0).all()
    assert all(torch.equal(result.isnan(), flagged_N) for result in results[1:])
    assert same([r[~flagged_N] for r in results], [s[~flagged_N] for s in sound])


def test_uniforms_out_of_range_give_a_token_in_range():
    draws = torch.tensor([-1.0, 0.0, 1.0, 1e300, torch.nan, INF]).double().cuda()
    for filters in FILTERS:
        tokens_N = sample_tokens(normal(6, 5003), draws, **filters)[0]
        assert ((0 <= tokens_N) & (tokens_N < 5003)).all()


def test_philox_gives_the_cpus_bits():
    counters = torch.randint(2**32, (3, 10_007), generator=torch.Generator().manual_seed(0))
    expected = philox_uniforms(2**64 - 3, *counters)
    assert torch.equal(philox_uniforms(2**64 - 3, *counters.cuda()).cpu(), expected)
    none = torch.empty(0, dtype=torch.int64, device="cuda")
    assert philox_uniforms(0, none, none, none).shape == (0,)


def test_rows_beyond_two_billion_logits():
    V, N = 151_936, 14_200  # 2^31 logits and more
    free, _ = torch.cuda.mem_get_info()
    if free < 2.5 * 2 * N * V:
        pytest.skip("needs 11 GB of the GPU's memory")
    logits_NV = torch.zeros(N, V, dtype=torch.bfloat16, device="cuda")
    logits_NV[-1, 77_777] = 100.0
    assert sample_tokens(logits_NV, uniforms(N))[0][-1] == 77_777
    assert sample_tokens(logits_NV[-200:], uniforms(200), top_p=0.9)[0][-1] == 77_777


@contextmanager
def waiting_is_an_error():
    """Have torch raise where the host waits for the device; to say so is a warning of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("default")


def test_it_works_on_torchs_stream_and_waits_for_nothing():
    logits_NV, draws = normal(64, 151_936, seed=7), uniforms(64)
    expected = sample_tokens(logits_NV, draws, top_p=0.9)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), waiting_is_an_error():
        torch.cuda._sleep(10**8)  # clock cycles, so that another stream reads `moved` too early
        moved = logits_NV * 2 / 2
        results = sample_tokens(moved, draws, top_p=0.9)
    stream.synchronize()
    assert torch.equal(results[0], expected[0])


def test_sample_tokens_rejects_uniforms_on_another_device():
    with pytest.raises(ValueError, match="uniforms must be on cuda:0 as the logits are; got cpu"):
        sample_tokens(normal(2, 4), torch.tensor([0.5, 0.5]).double())
    counters = torch.arange(3)
    with pytest.raises(ValueError, match="positions must be on cpu as prompt_uids are; got cuda"):
        philox_uniforms(0, counters, counters, counters.cuda())


def test_the_op_is_well_registered():
    torch.library.opcheck(
        torch.ops.r1core.sample_tokens.default,
        (normal(3, 11), uniforms(3), 1.0, 0, 1.0, 0.0),
    )

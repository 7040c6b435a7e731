import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from r1core import _C, oracle
from r1core.logprob import token_logprobs
from r1core.sample_tokens import philox_uniforms, sample_tokens

ISAS = ["portable", "avx2", "avx512"]
FILTERS = [
    {},
    {"temperature": 0.6},
    {"top_k": 5},
    {"top_p": 0.8},
    {"min_p": 0.1},
    {"temperature": 0.6, "top_k": 10, "top_p": 0.7, "min_p": 0.05},
]


def uniforms(N, seed=0):
    zeros = torch.zeros(N, dtype=torch.int64)
    return philox_uniforms(seed, torch.arange(N), zeros, zeros)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_frequencies_follow_the_filtered_distribution(filters):
    logits_V = 2 * torch.randn(40, generator=torch.Generator().manual_seed(3))
    N = 50_000
    tokens_N, *_ = sample_tokens(logits_V.expand(N, 40).contiguous(), uniforms(N), **filters)
    probabilities_V = oracle.filtered_probabilities(logits_V.double(), **filters)
    counts_V = torch.bincount(tokens_N, minlength=40).double()
    assert counts_V[probabilities_V == 0].sum() == 0
    kept = probabilities_V > 0
    assert chisquare(counts_V[kept], probabilities_V[kept] * N).pvalue > 1e-3  # fixed seed


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("V", [1, 17, 1023, 1024, 1025, 5003])
def test_log_probabilities_match_the_oracle(V, filters):
    logits_NV = 2 * torch.randn(7, V, generator=torch.Generator().manual_seed(V))
    tokens_N, logprobs_N, truncated_N, entropies_N = sample_tokens(
        logits_NV, uniforms(7), **filters
    )
    temperature = filters.get("temperature", 1.0)
    full, entropies = oracle.token_logprobs(logits_NV.double(), tokens_N, temperature=temperature)
    torch.testing.assert_close(logprobs_N.double(), full, rtol=1e-5, atol=3e-6)
    torch.testing.assert_close(entropies_N.double(), entropies, rtol=1e-5, atol=3e-6)
    for n in range(7):
        p_V = oracle.filtered_probabilities(logits_NV[n].double(), **filters)
        assert truncated_N[n].item() == pytest.approx(p_V[tokens_N[n]].log().item(), abs=1e-4)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_the_sampler_and_the_scorer_report_the_same_bits(filters, isa):
    if ISAS.index(isa) > ISAS.index(_C.best_isa()):
        pytest.skip(f"this CPU has no {isa}")
    logits_NV = 3 * torch.randn(64, 2999, generator=torch.Generator().manual_seed(1))
    temperature = filters.get("temperature", 1.0)
    try:
        _C.set_isa(isa)
        tokens_N, logprobs_N, _, entropies_N = sample_tokens(logits_NV, uniforms(64), **filters)
        scored = token_logprobs(logits_NV, tokens_N, temperature=temperature)
    finally:
        _C.set_isa(_C.best_isa())
    assert torch.equal(logprobs_N, scored[0]) and torch.equal(entropies_N, scored[1])
    expected = oracle.token_logprobs(logits_NV.double(), tokens_N, temperature=temperature)
    torch.testing.assert_close(logprobs_N.double(), expected[0], rtol=1e-6, atol=2e-6)
    torch.testing.assert_close(entropies_N.double(), expected[1], rtol=1e-6, atol=2e-6)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), V=st.integers(1, 70), temperature=st.floats(0.05, 20))
def test_the_most_probable_token_alone_has_truncated_log_probability_zero(seed, V, temperature):
    logits_NV = 5 * torch.randn(4, V, generator=torch.Generator().manual_seed(seed))
    draws = uniforms(4, seed)
    tokens_N, _, truncated_N, _ = sample_tokens(logits_NV, draws, temperature=temperature, top_k=1)
    assert torch.equal(tokens_N, logits_NV.argmax(-1)) and (truncated_N == 0).all()


def test_the_number_of_threads_changes_no_bit():
    logits_NV = torch.randn(300, 8191, generator=torch.Generator().manual_seed(3))
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(sample_tokens(logits_NV, uniforms(300), temperature=0.9))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_a_row_without_a_distribution_gives_nan_and_an_id_in_range():
    logits_NV = torch.zeros(3, 40)
    logits_NV[0, 7] = torch.nan
    logits_NV[1] = -torch.inf
    logits_NV[2, 5] = torch.inf
    for filters in ({}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.5}):
        tokens_N, logprobs_N, truncated_N, entropies_N = sample_tokens(
            logits_NV, uniforms(3), **filters
        )
        assert ((0 <= tokens_N) & (tokens_N < 40)).all()
        assert logprobs_N.isnan().all() and entropies_N.isnan().all()


def test_top_k_of_one_is_argmax_with_ties_to_the_lowest_id():
    logits_NV = torch.tensor([[1.0, 3.0, 3.0, 2.0], [-5.0, -0.0, 0.0, -9.0]])
    for seed in range(20):
        tokens_N, _, truncated_N, _ = sample_tokens(logits_NV, uniforms(2, seed), top_k=1)
        assert tokens_N.tolist() == [1, 1] and truncated_N.tolist() == [0, 0]


def test_ties_at_the_edge_of_top_k_and_top_p_go_to_the_lowest_ids():
    logits_NV = torch.zeros(2000, 10)
    assert set(sample_tokens(logits_NV, uniforms(2000), top_k=3)[0].tolist()) == {0, 1, 2}
    assert set(sample_tokens(logits_NV, uniforms(2000), top_p=0.45)[0].tolist()) == {0, 1, 2, 3, 4}


def test_top_k_beyond_the_vocabulary_keeps_everything():
    logits_NV = torch.randn(50, 20, generator=torch.Generator().manual_seed(2))
    draws = uniforms(50)
    plain, wide = sample_tokens(logits_NV, draws), sample_tokens(logits_NV, draws, top_k=99)
    assert torch.equal(plain[1][plain[0] == wide[0]], wide[1][plain[0] == wide[0]])
    assert torch.equal(plain[0], wide[0])


@pytest.mark.parametrize("uniform", [2.0**-54, 0.5, 1 - 2.0**-53])
def test_a_token_of_probability_zero_is_never_drawn(uniform):
    logits_NV = torch.full((1, 3000), -torch.inf)
    logits_NV[0, 1500] = 0.0
    draws = torch.tensor([uniform], dtype=torch.float64)
    assert sample_tokens(logits_NV, draws)[0].item() == 1500
    assert sample_tokens(logits_NV, draws, top_p=0.9)[0].item() == 1500


def test_a_row_does_not_depend_on_the_rows_around_it():
    logits_NV = torch.randn(33, 700, generator=torch.Generator().manual_seed(4))
    draws = uniforms(33)
    together = sample_tokens(logits_NV, draws, top_p=0.9)
    for n in range(33):
        alone = sample_tokens(logits_NV[n : n + 1], draws[n : n + 1], top_p=0.9)
        assert all(torch.equal(a[0], b[n]) for a, b in zip(alone, together, strict=True))


@pytest.mark.skipif(_C.best_isa() != "avx512", reason="compares AVX2 with AVX-512")
def test_avx2_and_avx512_give_the_same_bits():
    logits_NV = 2 * torch.randn(64, 3001, generator=torch.Generator().manual_seed(5))
    results = {}
    try:
        for isa in ("avx2", "avx512"):
            _C.set_isa(isa)
            results[isa] = sample_tokens(logits_NV, uniforms(64), temperature=0.8, top_p=0.9)
    finally:
        _C.set_isa(_C.best_isa())
    assert all(map(torch.equal, results["avx2"], results["avx512"]))


def test_philox_matches_the_published_vectors():
    # Random123's known answers for philox4x32-10: counter and key all zero, and all ones.
    zero = torch.zeros(1, dtype=torch.int64)
    bits = (0x6627E8D5 << 32 | 0xE169C58D) >> 11
    assert philox_uniforms(0, zero, zero, zero).item() == (bits + 0.5) / 2**53


def test_philox_numbers_are_distinct_uniform_and_inside_the_interval():
    counters = torch.arange(20_000)
    draws = philox_uniforms(7, counters % 100, counters // 100, counters % 7)
    assert len(draws.unique()) == 20_000
    assert 0 < draws.min() and draws.max() < 1
    histogram = torch.histc(draws, 50, 0, 1)
    assert chisquare(histogram).pvalue > 1e-3


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"temperature": 0.0}, "temperature must be finite and > 0; got 0"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\]; got 0"),
        ({"top_p": 1.5}, r"top_p must be in \(0, 1\]; got 1.5"),
        ({"min_p": 1.0}, r"min_p must be in \[0, 1\); got 1"),
        ({"uniforms_N": torch.tensor([0.5, 1.0]).double()}, r"uniforms must be in \(0, 1\); got 1"),
        ({"temperature": float("inf")}, "temperature must be finite and > 0; got inf"),
        ({"top_k": -1}, "top_k must be >= 0; got -1"),
        ({"uniforms_N": torch.zeros(3).double()}, r"uniforms must be \[N = 2\] float64"),
        ({"logits_NV": torch.zeros(2)}, r"logits must be \[N, V >= 1\] float32"),
    ],
)
def test_sample_tokens_rejects(changes, message):
    arguments = {"logits_NV": torch.zeros(2, 4), "uniforms_N": uniforms(2)} | changes
    with pytest.raises(ValueError, match=message):
        sample_tokens(**arguments)


def test_philox_uniforms_rejects_counters_it_would_cut():
    zeros = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"samples must be in \[0, 2\^32\); got 4294967296"):
        philox_uniforms(0, zeros, torch.tensor([0, 2**32]), zeros)
    with pytest.raises(ValueError, match=r"positions must be \[N = 2\] int64; got \[3\]"):
        philox_uniforms(0, zeros, zeros, torch.zeros(3, dtype=torch.int64))


def test_the_op_is_well_registered():
    torch.library.opcheck(
        torch.ops.r1core.sample_tokens.default,
        (torch.randn(3, 11), uniforms(3), 1.0, 0, 1.0, 0.0),
    )

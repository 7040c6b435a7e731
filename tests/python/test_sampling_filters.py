"""Filters at their edges: ties across a boundary, tiny weights, masks, large vocabularies."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from r1core import _C, oracle
from r1core.sample_tokens import philox_uniforms, sample_tokens

FILTERS = [
    {"top_k": 7},
    {"top_p": 0.9},
    {"min_p": 0.02},
    {"top_k": 901, "top_p": 0.61},
    {"temperature": 0.6, "top_k": 3001, "top_p": 0.95, "min_p": 1e-4},
]


def uniforms(N, seed=0):
    zeros = torch.zeros(N, dtype=torch.int64)
    return philox_uniforms(seed, torch.arange(N), zeros, zeros)


def rows(V):
    """Return rows that a selection could get wrong, [8, V]."""
    generator = torch.Generator().manual_seed(V)
    normal = torch.randn(V, generator=generator)
    return torch.stack(
        [
            normal,
            8 * normal,  # one token holds most of the mass
            normal.mul(2).round(),  # thousands of ties
            torch.zeros(V),  # all tie
            -87.5 - normal.abs() + 87.5 * (torch.arange(V) == V // 2),  # at the edge of underflow
            (normal * 1e-6).bfloat16().float(),  # equal weights from different logits
            torch.where(normal > 0, normal, -torch.inf),
            torch.linspace(-30, 30, V)[torch.randperm(V, generator=generator)],
        ]
    )


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("V", [1, 2, 15, 1023, 1024, 1025, 20_011])
def test_the_kept_tokens_are_the_oracles(V, filters):
    """A token's truncated log-probability gives away the mass of everything that was kept.

    No filter here ends exactly at a token: there, the oracle's own rounding would decide.
    """
    for logits_V in rows(V):
        p_V = oracle.filtered_probabilities(logits_V.double(), **filters)
        tokens_N, _, truncated_N, _ = sample_tokens(
            logits_V.expand(40, V).contiguous(), uniforms(40), **filters
        )
        assert (p_V[tokens_N] > 0).all()
        torch.testing.assert_close(truncated_N.double(), p_V[tokens_N].log(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_the_kept_tokens_of_a_large_vocabulary(filters):
    V = 151_936
    logits_NV = torch.randn(3, V, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [[1.0], [2.0], [12.0]]
    )
    tokens_N, _, truncated_N, _ = sample_tokens(logits_NV, uniforms(3), **filters)
    for n in range(3):
        p_V = oracle.filtered_probabilities(logits_NV[n].double(), **filters)
        assert truncated_N[n].item() == pytest.approx(p_V[tokens_N[n]].log().item(), abs=1e-5)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 10**6),
    V=st.integers(1, 60),
    levels=st.integers(1, 6),
    k=st.integers(1, 70),
    p=st.integers(40, 4001).map(lambda i: i / 4001),
)
def test_ties_go_to_the_lowest_ids(seed, V, levels, k, p):
    generator = torch.Generator().manual_seed(seed)
    # Weights are 1 to 32: a prime above every sum of them keeps rounding from deciding top-p.
    logits_V = torch.randint(levels, (V,), generator=generator) * torch.log(torch.tensor(2.0))
    p_V = oracle.filtered_probabilities(logits_V.double(), top_k=k, top_p=p)
    tokens_N, *_ = sample_tokens(
        logits_V.expand(500, V).contiguous(), uniforms(500, seed), top_k=k, top_p=p
    )
    drawn = set(tokens_N.tolist())
    assert drawn <= set(p_V.nonzero().flatten().tolist())
    likely = (p_V > 0.05).nonzero().flatten().tolist()  # missed by 500 draws once in 1e11
    assert set(likely) <= drawn


def test_masked_tokens_are_never_drawn_in_ten_million_draws():
    generator = torch.Generator().manual_seed(0)
    logits_V = torch.randn(50, generator=generator)
    masked = torch.arange(50) % 3 == 0
    logits_V[masked] = -torch.inf
    counts_V = torch.zeros(50, dtype=torch.int64)
    for seed in range(20):
        logits_NV = logits_V.expand(500_000, 50).contiguous()
        counts_V += sample_tokens(logits_NV, uniforms(500_000, seed))[0].bincount(minlength=50)
    assert counts_V.sum() == 10_000_000 and counts_V[masked].sum() == 0
    expected_V = logits_V.double().softmax(0) * 10_000_000
    assert chisquare(counts_V[~masked], expected_V[~masked]).pvalue > 1e-3  # fixed seeds


@pytest.mark.parametrize("filters", [{}, *FILTERS], ids=str)
def test_bfloat16_logits_count_as_the_floats_they_are(filters):
    logits_NV = torch.randn(20, 5003, generator=torch.Generator().manual_seed(2)).mul(3).bfloat16()
    narrow = sample_tokens(logits_NV, uniforms(20), **filters)
    assert all(map(torch.equal, narrow, sample_tokens(logits_NV.float(), uniforms(20), **filters)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_that_is_not_numbers_leaves_the_others_alone(dtype):
    good_NV = torch.randn(9, 3000, generator=torch.Generator().manual_seed(3)).to(dtype)
    bad_NV = good_NV.clone()
    bad_NV[2, 7], bad_NV[5, 2999] = torch.nan, torch.inf
    bad_NV[8] = -torch.inf
    for filters in ({}, *FILTERS):
        good = sample_tokens(good_NV, uniforms(9), **filters)
        bad = sample_tokens(bad_NV, uniforms(9), **filters)
        for expected, actual in zip(good, bad, strict=True):
            kept = [0, 1, 3, 4, 6, 7]
            assert torch.equal(actual[kept], expected[kept])
        assert bad[1][[2, 5, 8]].isnan().all() and bad[3][[2, 5, 8]].isnan().all()
        assert ((0 <= bad[0]) & (bad[0] < 3000)).all()


@pytest.mark.skipif(_C.best_isa() != "avx512", reason="compares AVX2 with AVX-512")
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_filters_give_the_same_bits_on_avx2_and_avx512(filters):
    results = {}
    try:
        for isa in ("avx2", "avx512"):
            _C.set_isa(isa)
            results[isa] = [
                sample_tokens(rows(V), uniforms(8, V), **filters) for V in (1, 1025, 20_011)
            ]
    finally:
        _C.set_isa(_C.best_isa())
    for narrow, wide in zip(results["avx2"], results["avx512"], strict=True):
        assert all(map(torch.equal, narrow, wide))

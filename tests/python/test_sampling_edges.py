"""Where samplers go wrong: ties, masks, rows without a distribution, the edge of the kept set."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from r1core import _C, oracle
from r1core.sample_tokens import philox_uniforms, sample_tokens

FILTERS = [
    {},
    {"top_k": 40},
    {"top_p": 0.95},
    {"min_p": 0.02},
    {"temperature": 0.6, "top_p": 0.9, "min_p": 0.01},
    {"temperature": 0.6, "top_k": 300, "top_p": 0.7, "min_p": 0.001},
]
INF = float("inf")
ISAS = ["portable", "avx2", "avx512"]


def normal(*shape, seed=0, scale=2.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def uniforms(N, seed=0):
    zeros = torch.zeros(N, dtype=torch.int64)
    return philox_uniforms(seed, torch.arange(N), zeros, zeros)


def grid(N):
    return (torch.arange(N, dtype=torch.float64) + 0.5) / N


def same(left, right):
    return all(
        torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(left, right, strict=True)
    )


ROWS = {
    "distinct": normal(40, seed=3),
    "ties": torch.tensor([0.0, 1, 1, 2, 2, 2, -1, 2, 1, 0]),
    "one_hot": torch.tensor([-INF, -INF, 3.0, -INF]),
    "masked": torch.tensor([-INF, 1.0, -INF, 0.5, -INF, 0.5, -INF]),
    "peaked": torch.cat([torch.tensor([12.0, 11.0, 9.0]), normal(200, seed=4)]),
}
EDGES = [
    {"top_k": 1},
    {"top_k": 3},
    {"top_k": 10**9},
    {"top_p": 1e-30},
    {"top_p": 0.5},
    {"top_p": 1 - 2**-53},
    {"min_p": 0.999999},
    {"min_p": 0.3},
    {"temperature": 1e-3},
    {"temperature": 50.0, "top_k": 6, "top_p": 0.83, "min_p": 0.9},
]


@pytest.mark.parametrize("edge", EDGES, ids=str)
@pytest.mark.parametrize("row", ROWS)
def test_frequencies_follow_the_oracle_at_the_edges(row, edge):
    logits_V, N = ROWS[row], 20_000
    p_V = oracle.filtered_probabilities(logits_V.double(), **edge)
    tokens_N, _, truncated_N, _ = sample_tokens(
        logits_V.expand(N, -1).contiguous(), uniforms(N), **edge
    )
    counts_V = torch.bincount(tokens_N, minlength=len(p_V)).double()
    assert counts_V[p_V == 0].sum() == 0
    torch.testing.assert_close(truncated_N.double(), p_V[tokens_N].log(), rtol=1e-5, atol=3e-6)
    expected = p_V * N
    often = expected >= 5  # what the chi-square test asks for; the rare ones are one cell
    cells = [*counts_V[often], counts_V[~often].sum()]
    wanted = [*expected[often], expected[~often].sum()]
    if wanted[-1] == 0:
        cells, wanted = cells[:-1], wanted[:-1]
    assert len(cells) == 1 or chisquare(cells, wanted).pvalue > 1e-3  # fixed seed


@pytest.mark.parametrize("filters", [{"top_k": 5}, {"top_p": 0.9}], ids=str)
def test_tokens_masked_or_filtered_are_never_drawn_in_ten_million_draws(filters):
    N, V = 1_000_000, 16
    logits_V = normal(V, seed=8)
    logits_V[::2] = -INF
    logits_NV = logits_V.expand(N, V).contiguous()
    allowed_V = oracle.filtered_probabilities(logits_V.double(), **filters) > 0
    for seed in range(10):
        counts_V = torch.bincount(
            sample_tokens(logits_NV, uniforms(N, seed), **filters)[0], minlength=V
        )
        assert torch.equal(counts_V > 0, allowed_V)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("filters", [*FILTERS, {"top_k": 1}], ids=str)
def test_a_row_without_a_distribution_is_flagged_and_leaves_the_others_alone(filters, dtype, isa):
    if ISAS.index(isa) > ISAS.index(_C.best_isa()):
        pytest.skip(f"this CPU has no {isa}")
    try:
        _C.set_isa(isa)
        for V in (1, 16, 5003):
            logits_NV = normal(9, V, seed=1).to(dtype)
            sound = sample_tokens(logits_NV, uniforms(9), **filters)
            logits_NV[1, V // 2] = torch.nan
            logits_NV[3] = -torch.nan
            logits_NV[5] = -INF
            logits_NV[7, -1] = INF
            logits_NV[8, V // 3 :] = INF
            results = sample_tokens(logits_NV, uniforms(9), **filters)
            flagged_N = torch.tensor([n in (1, 3, 5, 7, 8) for n in range(9)])
            assert (results[0][flagged_N] == 0).all()
            assert all(torch.equal(result.isnan(), flagged_N) for result in results[1:])
            assert same([r[~flagged_N] for r in results], [s[~flagged_N] for s in sound])
    finally:
        _C.set_isa(_C.best_isa())


def kept_by_definition(weights_V, logits_V, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """Tokens in order of rank, and the running share of their mass."""
    order = torch.argsort(logits_V + 0.0, descending=True, stable=True)
    order = order[weights_V[order] > 0][: top_k or None]
    share = weights_V[order].cumsum(0) / weights_V[order].sum()
    if top_p < 1:
        order = order[: int((share < top_p).sum()) + 1]
    return order[weights_V[order] >= min_p], share


def rows_with_many_ties(V, seed):
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randint(-4, 5, (V,), generator=generator)
    flat, low = steps * 0.0, steps / 2 - 95.0
    low[torch.randint(V, (), generator=generator)] = -10.0  # the others weigh 1e-38 or nothing
    return {"integers": steps.float(), "flat": flat, "two": (steps > 2).float(), "denormal": low}


@pytest.mark.parametrize("top_k", [0, 1, 7, 1000])
@pytest.mark.parametrize("top_p", [1e-6, 0.31, 0.613, 0.9991])
@pytest.mark.parametrize("V", [1, 2, 1023, 1024, 1025])
def test_every_token_kept_is_the_definitions_where_ties_straddle_the_edge(V, top_p, top_k):
    for logits_V in rows_with_many_ties(V, seed=V).values():
        # Seen one by one: N draws at even spacing show every token of more mass than 1 / N.
        N = 8 * V
        tokens_N, _, truncated_N, _ = sample_tokens(
            logits_V.expand(N, V).contiguous(), grid(N), top_k=top_k, top_p=top_p
        )
        weights_V = (logits_V.double() - logits_V.max()).exp()
        weights_V[logits_V - logits_V.max() < -87.3] = 0  # as the kernel's exponential
        kept, _ = kept_by_definition(weights_V, logits_V, top_k=top_k, top_p=top_p)
        mass = weights_V[kept].sum()
        drawn = set(tokens_N.tolist())
        assert drawn <= set(kept.tolist())
        assert {i for i in kept.tolist() if weights_V[i] / mass > 1.001 / N} <= drawn
        torch.testing.assert_close(
            truncated_N.double(), (weights_V[tokens_N] / mass).log(), rtol=1e-6, atol=1e-6
        )


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    V=st.integers(1, 6000),
    spread=st.sampled_from([0.01, 0.5, 2.0, 8.0]),
    top_k=st.sampled_from([0, 1, 50, 3000]),
    top_p=st.floats(1e-4, 1.0),
    min_p=st.sampled_from([0.0, 0.01, 0.5]),
)
def test_the_mass_kept_is_the_smallest_that_reaches_top_p(seed, V, spread, top_k, top_p, min_p):
    check_mass(normal(V, seed=seed, scale=spread), top_k=top_k, top_p=top_p, min_p=min_p)


@pytest.mark.parametrize("filters", FILTERS[1:], ids=str)
@pytest.mark.parametrize("spread", [0.01, 2.0, 10.0])
def test_a_large_vocabulary_keeps_the_same_mass(spread, filters):
    logits_V = normal(151_936, scale=spread)
    check_mass(logits_V, **filters)
    logits_V[77_777:] = -1e9  # a mask as transformers writes it
    check_mass(logits_V.sort().values, **filters)  # no sample of it looks like the whole
    logits_V[151_000] = 30.0  # outweighs the others
    check_mass(logits_V, **filters)


def check_mass(logits_V, **filters):
    """The kept mass, read from the two log-probabilities, is that of the definition's set."""
    tokens_N, logprobs_N, truncated_N, _ = sample_tokens(
        logits_V.expand(3, -1).contiguous(),
        torch.tensor([1e-12, 0.5, 1 - 1e-12], dtype=torch.float64),
        **filters,
    )
    z_V = logits_V.double() / filters.get("temperature", 1.0)
    weights_V = (z_V - z_V.max()).exp()
    weights_V[z_V - z_V.max() < -87.3] = 0
    kept, share = kept_by_definition(weights_V, logits_V, **filters)
    # fp32 exponentials may move the edge by tokens whose running share is this close to it.
    near = (share - filters.get("top_p", 1.0)).abs() < 2e-6
    slack = (share.diff(prepend=torch.zeros(1).double())[near].sum() if near.any() else 0) + 3e-6
    mass = (logprobs_N.double() - truncated_N.double()).exp()
    expected = weights_V[kept].sum() / weights_V.sum()
    assert ((mass / expected - 1).abs() < slack).all()
    if not near.any():
        assert set(tokens_N.tolist()) <= set(kept.tolist())
        assert tokens_N[0] == kept.min() or weights_V[kept.min()] / weights_V.sum() < 1e-11


def results_on(isa, logits_NV, filters):
    try:
        _C.set_isa(isa)
        return sample_tokens(logits_NV, uniforms(len(logits_NV)), **filters)
    finally:
        _C.set_isa(_C.best_isa())


@pytest.mark.skipif(_C.best_isa() != "avx512", reason="compares AVX2 with AVX-512")
@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("N,V", [(64, 1), (64, 17), (64, 1025), (64, 3001), (8, 151_936)])
def test_avx2_and_avx512_give_the_same_bits(N, V, dtype, filters):
    logits_NV = normal(N, V, seed=5).to(dtype)
    assert same(results_on("avx2", logits_NV, filters), results_on("avx512", logits_NV, filters))


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_threads_and_neighbours_change_no_bit(filters):
    logits_NV, draws = normal(300, 8191, seed=3), uniforms(300)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(sample_tokens(logits_NV, draws, **filters))
    finally:
        torch.set_num_threads(before)
    assert same(results[0], results[1]) and same(results[0], results[2])
    backwards = sample_tokens(logits_NV.flip(0), draws.flip(0), **filters)
    assert same(results[0], [result.flip(0) for result in backwards])
    alone = sample_tokens(logits_NV[7:8], draws[7:8], **filters)
    assert same(alone, [result[7:8] for result in results[0]])

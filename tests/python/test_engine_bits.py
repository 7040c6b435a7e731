"""The engine against itself: the same bits under every way to cut the work."""

import itertools
import threading

import pytest
import torch
from engine_cases import (
    CONFIGS,
    PARAMS,
    PROMPTS,
    UIDS,
    assert_same_bits,
    build,
    generate,
    prompts_of,
    sequences_of,
)

from r1core import _C
from r1core.engine import Engine, Generated
from r1core.types import SamplingParams

FAMILIES = ("gemma", "llama3_rope", "qwen2_window", "qwen3", "mistral_window", "llama_odd_sizes")
MODELS = [(name, torch.float32) for name in FAMILIES] + [("qwen3", torch.bfloat16)]
IDS = [f"{name}-{str(dtype).removeprefix('torch.')}" for name, dtype in MODELS]


@pytest.fixture(scope="module", params=MODELS, ids=IDS)
def engine(request):
    return Engine(build(*request.param))


def reordered(generated: Generated, order: list[int], n: int) -> Generated:
    """Return the rows of prompts in another order."""
    rows = torch.tensor([p * n + g for p in order for g in range(n)])
    return Generated(*(values[rows] for values in generated[:-1]))  # all but the trace


def test_slots_threads_and_order_change_no_bit(engine):
    expected = generate(engine, slots=7, threads=1)
    orders = ([0, 1, 2], [2, 0, 1])
    for slots, threads, order in itertools.product((1, 3, 16, 64), (1, 2, 5), orders):
        generated = generate(
            engine,
            prompts=[PROMPTS[p] for p in order],
            uids=[UIDS[p] for p in order],
            slots=slots,
            threads=threads,
        )
        assert_same_bits(generated, reordered(expected, order, 5))


def test_a_prompt_alone_gives_the_same_bits(engine):
    together = generate(engine)
    for p in range(len(PROMPTS)):
        alone = generate(engine, prompts=[PROMPTS[p]], uids=[UIDS[p]])
        T = alone.tokens_NT.shape[1]
        for a, b in zip(alone[:-1], together[:-1], strict=True):
            rows = b[5 * p : 5 * p + 5]
            assert torch.equal(a, rows[:, :T] if rows.dim() == 2 else rows)


def test_a_smaller_group_is_the_beginning_of_a_larger_one(engine):
    large = generate(engine, params=SamplingParams(n=40, max_new_tokens=6), slots=120)
    small = generate(engine, params=SamplingParams(n=3, max_new_tokens=6))
    for a, b in zip(small[:-1], large[:-1], strict=True):
        assert torch.equal(a.unflatten(0, (3, 3)), b.unflatten(0, (3, 40))[:, :3])


def test_the_scorer_gives_the_samplers_bits_however_tokens_are_packed(engine):
    prompts, uids = prompts_of(5, 1, 70, 64, 33), [11, 7, 3, 1, 9]
    generated = generate(engine, prompts=prompts, uids=uids)
    sequences = sequences_of(generated, prompts, 5)
    lengths = [len(prompts[i // 5]) for i in range(25)]
    scattered = [i % 5 * 5 + i // 5 for i in range(25)]  # no two neighbours share a prompt
    for order, threads in itertools.product((list(range(25)), scattered, [12]), (1, 2, 5)):
        scored = engine.logprobs(
            [sequences[i] for i in order], [lengths[i] for i in order], 0.8, threads=threads
        )
        for i, (logprobs, entropies) in zip(order, scored, strict=True):
            assert torch.equal(logprobs, generated.logprobs_NT[i, : len(logprobs)])
            assert torch.equal(entropies, generated.entropies_NT[i, : len(entropies)])


@pytest.mark.parametrize(("name", "dtype"), MODELS, ids=IDS)
def test_avx2_and_avx512_give_the_same_bits(name, dtype):
    if _C.best_isa() != "avx512":
        pytest.skip("needs AVX-512")
    engine = Engine(build(name, dtype))
    filtered = SamplingParams(n=5, max_new_tokens=20, top_k=30, top_p=0.9, min_p=0.01)
    wide = generate(engine), generate(engine, params=filtered)
    try:
        _C.set_isa("avx2")
        assert_same_bits(generate(engine), wide[0])
        assert_same_bits(generate(engine, params=filtered), wide[1])
    finally:
        _C.set_isa(_C.best_isa())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_portable_level_agrees_within_rounding(name):
    engine = Engine(build(name))
    sequences, lengths = prompts_of(3, 40, 150), [1, 20, 70]
    best = engine.logprobs(sequences, lengths)
    try:
        _C.set_isa("portable")
        portable = engine.logprobs(sequences, lengths)
    finally:
        _C.set_isa(_C.best_isa())
    for (a, _), (b, _) in zip(best, portable, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)  # as against transformers


@pytest.mark.parametrize("name", CONFIGS)
def test_bfloat16_weights_count_as_the_floats_they_are(name):
    model = build(name, torch.bfloat16)
    narrow = generate(Engine(model))
    assert_same_bits(narrow, generate(Engine(model.float())))


def test_two_engines_run_at_once():
    engines = [Engine(build("qwen3")), Engine(build("llama3_rope"))]
    params = SamplingParams(n=16, max_new_tokens=40)
    expected = [generate(engine, params=params) for engine in engines]
    drawn: list[list[Generated]] = [[], []]

    def draw(i):
        for _ in range(5):
            drawn[i].append(generate(engines[i], params=params))

    threads = [threading.Thread(target=draw, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        assert len(drawn[i]) == 5
        for generated in drawn[i]:
            assert_same_bits(generated, expected[i])


def test_seeds_are_of_each_prompt():
    engine = Engine(build("qwen3"))
    params = SamplingParams(n=5, max_new_tokens=20, seed=9, temperature=PARAMS.temperature)
    expected = generate(engine, params=params)
    assert_same_bits(generate(engine, params=params, seeds=[9, 9, 9]), expected)
    other = generate(engine, params=params, seeds=[9, 10, 9])
    same = [torch.equal(other.tokens_NT[n], expected.tokens_NT[n]) for n in range(15)]
    assert same == [True] * 5 + [False] * 5 + [True] * 5

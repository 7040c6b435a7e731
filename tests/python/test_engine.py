"""The engine against transformers, and against itself under every way to cut the work."""

import signal
import threading
import time

import pytest
import torch
from models import SIZES
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from r1core import _C
from r1core.engine import Engine, Generated
from r1core.types import SamplingParams

V = 97
BASE = SIZES | {"vocab_size": V, "initializer_range": 0.2, "pad_token_id": None}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CONFIGS = {
    "llama": LlamaConfig(**BASE),
    "llama_tied": LlamaConfig(**BASE, tie_word_embeddings=True),
    "llama_biases": LlamaConfig(**BASE, attention_bias=True, mlp_bias=True),
    "llama3_rope": LlamaConfig(**BASE, rope_parameters=LLAMA3),
    "llama_linear_rope": LlamaConfig(
        **BASE, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
    ),
    "llama_odd_sizes": LlamaConfig(
        **BASE | {"hidden_size": 40, "intermediate_size": 37, "head_dim": 22}
    ),
    "qwen2": Qwen2Config(**BASE),
    "qwen2_window": Qwen2Config(
        **BASE, use_sliding_window=True, sliding_window=5, max_window_layers=1
    ),
    "qwen3": Qwen3Config(**BASE, head_dim=16),
    "qwen3_tied_bias": Qwen3Config(
        **BASE, head_dim=32, attention_bias=True, tie_word_embeddings=True
    ),
    "mistral": MistralConfig(**BASE, sliding_window=None),
    "mistral_window": MistralConfig(**BASE, sliding_window=7),
}
UIDS = [11, 7, 3]


def build(config):
    """Return a random model; biases and norms too, which initialise to 0 and 1."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def prompts_of(*lengths):
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(0, V, (length,), generator=generator) for length in lengths]


PROMPTS = prompts_of(5, 1, 70)
PARAMS = SamplingParams(n=5, max_new_tokens=20, temperature=0.8, seed=9)
STOPS = (3, 20, 30, 40, 50, 60, 70)


def generate(engine, prompts=PROMPTS, params=PARAMS, stops=STOPS, uids=UIDS, **how):
    return engine.generate(prompts, params, stops, uids, **how)


def sequences_of(generated, prompts, n):
    rows = zip(generated.tokens_NT, generated.lengths_N.tolist(), strict=True)
    return [torch.cat([prompts[i // n], row[:length]]) for i, (row, length) in enumerate(rows)]


def assert_same_bits(left: Generated, right: Generated):
    for name, a, b in zip(Generated._fields, left, right, strict=True):
        assert torch.equal(a, b), name


@pytest.fixture(scope="module")
def engine():
    return Engine(build(CONFIGS["qwen3"]))


@pytest.mark.parametrize("name", CONFIGS)
def test_logprobs_match_transformers(name):
    model = build(CONFIGS[name])
    sequences = prompts_of(3, 17, 40, 150)
    scored = Engine(model).logprobs(sequences, [1, 16, 20, 70], temperature=0.7)
    for tokens, length, (logprobs, entropies) in zip(
        sequences, [1, 16, 20, 70], scored, strict=True
    ):
        with torch.no_grad():
            logits = model(tokens[None]).logits[0, length - 1 : -1].double() / 0.7
        expected = logits.log_softmax(-1)
        chosen = expected.gather(-1, tokens[length:, None]).squeeze(-1)
        entropy = -(expected.exp() * expected).sum(-1)
        # float32 sums in another order, through two layers
        torch.testing.assert_close(logprobs.double(), chosen, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(entropies.double(), entropy, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_top_k_of_one_is_transformers_greedy_search(name):
    model = build(CONFIGS[name])
    params = SamplingParams(n=2, max_new_tokens=12, top_k=1)
    generated = generate(Engine(model), params=params, stops=())
    for p, prompt in enumerate(PROMPTS):
        expected = model.generate(
            prompt[None],
            attention_mask=torch.ones_like(prompt[None]),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=None,
            pad_token_id=0,
        )[0, len(prompt) :]
        for g in range(2):
            assert generated.tokens_NT[2 * p + g].tolist() == expected.tolist()
    assert generated.truncated_logprobs_NT.abs().max() == 0


@pytest.mark.parametrize("slots", [1, 3, 16, 64])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_slots_and_threads_change_no_bit(engine, slots, threads):
    assert_same_bits(
        generate(engine, slots=slots, threads=threads), generate(engine, slots=7, threads=1)
    )


def test_more_slots_than_a_block_change_no_bit(engine):
    params = SamplingParams(n=40, max_new_tokens=6)
    assert_same_bits(
        generate(engine, params=params, slots=120, threads=1), generate(engine, params=params)
    )


def test_a_prompt_alone_gives_the_same_bits(engine):
    together = generate(engine)
    for p in range(len(PROMPTS)):
        alone = generate(engine, prompts=[PROMPTS[p]], uids=[UIDS[p]])
        T = alone.tokens_NT.shape[1]
        for a, b in zip(alone, together, strict=True):
            rows = b[5 * p : 5 * p + 5]
            assert torch.equal(a, rows[:, :T] if rows.dim() == 2 else rows)


def test_the_order_of_prompts_changes_no_bit(engine):
    forward = generate(engine)
    backward = generate(engine, prompts=PROMPTS[::-1], uids=UIDS[::-1])
    for a, b in zip(forward, backward, strict=True):
        assert torch.equal(a, b.unflatten(0, (3, 5)).flip(0).flatten(0, 1))


@pytest.mark.parametrize("name", ["qwen3", "mistral_window", "llama_odd_sizes"])
def test_avx2_and_avx512_give_the_same_bits(name):
    if _C.best_isa() != "avx512":
        pytest.skip("needs AVX-512")
    engine = Engine(build(CONFIGS[name]))
    wide = generate(engine)
    try:
        _C.set_isa("avx2")
        assert_same_bits(generate(engine), wide)
    finally:
        _C.set_isa(_C.best_isa())


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "mistral_window", "llama3_rope"])
def test_the_scorer_gives_the_samplers_bits(name):
    engine = Engine(build(CONFIGS[name]))
    generated = generate(engine)
    lengths = [len(PROMPTS[i // 5]) for i in range(15)]
    scored = engine.logprobs(sequences_of(generated, PROMPTS, 5), lengths, temperature=0.8)
    for i, (logprobs, entropies) in enumerate(scored):
        assert torch.equal(logprobs, generated.logprobs_NT[i, : len(logprobs)])
        assert torch.equal(entropies, generated.entropies_NT[i, : len(entropies)])


def test_a_completion_ends_with_its_first_stop_token(engine):
    generated = generate(engine)
    assert 0 < int(generated.stopped_N.sum()) < 15
    for row, length, stopped in zip(
        generated.tokens_NT.tolist(), generated.lengths_N.tolist(), generated.stopped_N, strict=True
    ):
        assert not set(row[: length - 1]) & set(STOPS)
        assert (row[length - 1] in STOPS) == bool(stopped)
        assert bool(stopped) or length == 20
        assert set(row[length:]) <= {0}
    beyond = torch.arange(generated.tokens_NT.shape[1]) >= generated.lengths_N[:, None]
    for values in generated[1:4]:
        assert values[beyond].count_nonzero() == 0


def test_one_new_token_needs_no_decoding(engine):
    generated = generate(engine, params=SamplingParams(n=3, max_new_tokens=1), stops=())
    assert generated.tokens_NT.shape == (9, 1) and not generated.stopped_N.any()


def test_samples_of_a_prompt_differ_and_seeds_differ(engine):
    generated = generate(engine, stops=())
    assert len({tuple(row) for row in generated.tokens_NT[:5].tolist()}) == 5
    other = generate(engine, stops=(), params=SamplingParams(n=5, max_new_tokens=20, seed=10))
    assert not torch.equal(generated.tokens_NT, other.tokens_NT)


def test_first_tokens_follow_the_models_distribution(engine):
    prompt = PROMPTS[:1]
    params = SamplingParams(n=20_000, max_new_tokens=1, seed=3)
    counts = generate(engine, prompt, params, (), [0]).tokens_NT.flatten().bincount(minlength=V)
    with torch.no_grad():
        expected = engine.model(prompt[0][None]).logits[0, -1].softmax(-1) * params.n
    kept = expected >= 5
    chi_square = ((counts - expected) ** 2 / expected)[kept].sum()
    degrees = int(kept.sum()) - 1
    assert chi_square < degrees + 4 * (2 * degrees) ** 0.5  # four standard deviations


def test_the_parameters_are_read_at_every_call():
    model = build(CONFIGS["qwen2"])
    engine = Engine(model)
    before = generate(engine)
    pointers = [p.data_ptr() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model(PROMPTS[2][None], labels=PROMPTS[2][None]).loss.backward()
    optimizer.step()
    stepped = generate(engine)
    assert not torch.equal(before.logprobs_NT[:, 0], stepped.logprobs_NT[:, 0])
    assert_same_bits(stepped, generate(Engine(model)))
    assert pointers == [p.data_ptr() for p in model.parameters()]

    model.load_state_dict(build(CONFIGS["qwen2"]).state_dict())
    assert_same_bits(before, generate(engine))
    model.to(torch.float64).to(torch.float32)  # new tensors in the parameters' place
    assert_same_bits(before, generate(engine))


class Boom(Exception):
    pass


@pytest.fixture
def endless():
    """Return a call that takes many seconds unless it is stopped."""
    engine = Engine(build(CONFIGS["qwen3"]))
    params = SamplingParams(n=20_000, max_new_tokens=400)
    return lambda on_step=None: generate(engine, params=params, stops=(), on_step=on_step)


def test_an_exception_in_the_callback_ends_the_call(endless, engine):
    def explode(tokens, finished):
        raise Boom

    expected = generate(engine)
    started = time.monotonic()
    with pytest.raises(Boom):
        endless(explode)
    assert time.monotonic() - started < 5
    assert_same_bits(generate(engine), expected)


@pytest.fixture
def ctrl_c_raises():
    """Have SIGINT raise, also where the shell started us in the background and it is ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_ctrl_c_ends_the_call(endless, engine, ctrl_c_raises):
    main = threading.main_thread().ident
    timer = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        endless()
    assert time.monotonic() - started < 5
    generate(engine)


def test_the_callback_reports_every_token(engine):
    reports = []
    generated = generate(engine, on_step=lambda tokens, done: reports.append((tokens, done)))
    assert reports[-1] == (int(generated.lengths_N.sum()), 15)
    assert reports == sorted(reports)

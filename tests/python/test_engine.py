"""The engine against transformers, and as a neighbour: callbacks, interrupts, live parameters."""

import os
import signal
import threading
import time

import pytest
import torch
from engine_cases import (
    CONFIGS,
    PROMPTS,
    STOPS,
    V,
    assert_same_bits,
    build,
    generate,
    prompts_of,
    sequences_of,
)

from r1core.engine import Engine
from r1core.types import SamplingParams


@pytest.fixture(scope="module")
def engine():
    return Engine(build("qwen3"))


@pytest.mark.parametrize("name", CONFIGS)
def test_logprobs_match_transformers(name):
    model = build(name)
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
    model = build(name)
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
    model = build("qwen2")
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

    model.load_state_dict(build("qwen2").state_dict())
    assert_same_bits(before, generate(engine))
    model.to(torch.float64).to(torch.float32)  # new tensors in the parameters' place
    assert_same_bits(before, generate(engine))


class Boom(Exception):
    pass


@pytest.fixture
def endless():
    """Return a call that takes many seconds unless it is stopped."""
    engine = Engine(build("qwen3"))
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


class Explosive:
    """Stop strings whose reader fails."""

    def may_end(self, vocab_size):
        return torch.ones(vocab_size, dtype=torch.bool)

    def ends(self, tokens):
        raise Boom


def test_an_exception_while_reading_the_text_ends_the_call(engine):
    expected = generate(engine)
    with pytest.raises(Boom):
        generate(engine, stop_strings=Explosive())
    assert_same_bits(generate(engine), expected)


def resident_megabytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def test_thousands_of_sequences_leave_no_memory_behind(engine):
    prompts = prompts_of(*range(1, 65))
    params = SamplingParams(n=40, max_new_tokens=12)

    def run():
        generated = generate(engine, prompts, params, uids=list(range(64)))
        engine.logprobs(sequences_of(generated, prompts, 40), [i // 40 + 1 for i in range(2560)])

    run()
    before = resident_megabytes()
    for _ in range(4):
        run()
    # 10,240 sequences of up to 76 positions; one cache of them all would hold 290 MB
    assert resident_megabytes() - before < 20

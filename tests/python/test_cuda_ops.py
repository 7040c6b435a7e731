"""The ops on a GPU: as the oracle, in large and odd shapes, and the same bits twice."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from packed_case import CONFIGS, STARTS, TEMPERATURE, Case, M, V, leaf, name

from r1core import _C, oracle
from r1core.advantage import group_advantage
from r1core.grpo_loss import LossConfig, grpo_loss
from r1core.grpo_loss_from_hidden import grpo_loss_from_hidden, packed_loss_from_hidden
from r1core.grpo_loss_from_logits import grpo_loss_from_logits
from r1core.logprob import token_logprobs
from r1core.logprobs_from_hidden import logprobs_from_hidden
from r1core.loss_tokens import pack_tokens

pytestmark = pytest.mark.cuda

# A lane, an odd row, a slice and a bit, tied clusters, and the vocabularies of Qwen and DeepSeek.
SHAPES = [(0, 5), (1, 1), (3, 7), (13, 1025), (17, 40_961), (67, 151_936), (5, 129_280)]
SHAPES += [(3, 151_937)]  # bfloat16 rows that are not aligned


def rows_of_logits(M, V, dtype=torch.float32, seed=0):
    generator = torch.Generator("cuda").manual_seed(seed + M * V)
    logits_MV = 4 * torch.randn(M, V, generator=generator, device="cuda")
    tokens_M = torch.randint(V, (M,), generator=generator, device="cuda")
    return logits_MV.to(dtype), tokens_M


def on_gpu(case):
    """The case with every tensor on the GPU but the offsets."""
    for key, value in vars(case).items():
        if isinstance(value, torch.Tensor):
            setattr(case, key, value.cuda())
    case.per_token = {key: value.cuda() for key, value in case.per_token.items()}
    return case


def packed(M, V, seed=1):
    """Arguments of a door for M tokens in sequences of up to 5."""
    generator = torch.Generator("cuda").manual_seed(seed)
    draw = lambda: torch.randn(M, generator=generator, device="cuda")  # noqa: E731
    starts = torch.arange(0, M + 5, 5).clamp(max=M)
    return starts, draw(), {"mask": draw() > -1, "old_logprobs": draw() - 12}


def test_the_library_finds_the_gpu():
    path, trouble, error, devices, driver, built = _C.cuda_status()
    assert path and not trouble and error == 0 and devices >= 1 and driver >= built // 10 * 10


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
@pytest.mark.parametrize("P,G", [(0, 8), (1, 1), (3, 16), (5, 33), (257, 64), (2, 1000)])
def test_group_advantage_is_the_cpus(P, G, scale, baseline):
    rewards_PG = torch.rand(P, G)
    rewards_PG[rewards_PG < 0.1] = torch.nan
    expected = group_advantage(rewards_PG, scale=scale, baseline=baseline)
    actual = group_advantage(rewards_PG.cuda(), scale=scale, baseline=baseline)
    assert actual.is_cuda
    torch.testing.assert_close(actual.cpu(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("M,V", SHAPES)
def test_token_logprobs_match_the_oracle(M, V, dtype):
    logits_MV, tokens_M = rows_of_logits(M, V, dtype)
    ours, theirs = leaf(logits_MV), leaf(logits_MV.double())
    actual = token_logprobs(ours, tokens_M, temperature=0.7)
    expected = oracle.token_logprobs(theirs, tokens_M, temperature=0.7)
    for mine, exact in zip(actual, expected, strict=True):
        # fp32 exponentials within 3 ulp, of values up to 40
        torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=5e-6)
    weights_M = torch.randn(M, device="cuda")
    for logprobs_M, entropies_M in (actual, expected):
        (weights_M * logprobs_M + 0.3 * entropies_M).sum().backward()
    rounding = 1 / 256 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=rounding, atol=2e-6)


def test_token_logprobs_take_strides_and_any_alignment():
    logits_MV, tokens_M = rows_of_logits(9, 5000, torch.bfloat16)
    expected, _ = token_logprobs(logits_MV, tokens_M)
    assert torch.equal(token_logprobs(logits_MV.t().contiguous().t(), tokens_M)[0], expected)
    room = torch.empty(9 * 5000 + 1, device="cuda", dtype=torch.bfloat16)
    shifted = room[1:].view(9, 5000).copy_(logits_MV)  # 2 bytes beyond a whole vector
    assert torch.equal(token_logprobs(shifted, tokens_M)[0], expected)


def test_rows_do_not_depend_on_those_beside():
    logits_MV, tokens_M = rows_of_logits(300, 50_000, torch.bfloat16)
    all_M, _ = token_logprobs(logits_MV, tokens_M)
    some_M, _ = token_logprobs(logits_MV[7:12], tokens_M[7:12])
    assert torch.equal(all_M[7:12], some_M)


def test_a_token_out_of_range_gives_nan_and_other_devices_are_an_error():
    logits_MV, tokens_M = rows_of_logits(3, 100)
    tokens_M[1] = 100
    logprobs_M, _ = token_logprobs(logits_MV, tokens_M)
    assert logprobs_M.isnan().tolist() == [False, True, False]
    with pytest.raises(ValueError, match="tokens must be on cuda:0 as the logits are; got cpu"):
        token_logprobs(logits_MV, tokens_M.cpu())


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_the_doors_give_what_they_give_on_the_cpu(config):
    case, gpu = Case(), on_gpu(Case())
    ours, theirs = leaf(gpu.logits_MV), leaf(case.logits_MV)
    actual, metrics = gpu.from_logits(ours, config)
    expected, expected_metrics = case.from_logits(theirs, config)
    torch.testing.assert_close(actual.cpu(), expected, rtol=1e-5, atol=1e-6)
    assert metrics.kl == pytest.approx(expected_metrics.kl, rel=1e-5)
    assert metrics.entropy == pytest.approx(expected_metrics.entropy, rel=1e-5)
    (2 * actual).backward(), (2 * expected).backward()
    torch.testing.assert_close(ours.grad.cpu(), theirs.grad, rtol=1e-4, atol=1e-6)

    factors = [leaf(x) for x in (gpu.hidden_MH, gpu.head_VH)]
    peers = [leaf(x) for x in (case.hidden_MH, case.head_VH)]
    for budget in (1 << 30, 5 * 4 * 1037):
        for x in (*factors, *peers):
            x.grad = None
        loss, _ = gpu.from_hidden(*factors, config, lm_head_bias=gpu.bias_V, budget_bytes=budget)
        peer, _ = case.from_hidden(*peers, config, lm_head_bias=case.bias_V)
        torch.testing.assert_close(loss.cpu(), peer, rtol=1e-4, atol=1e-5)
        loss.backward(), peer.backward()
        for mine, other in zip(factors, peers, strict=True):
            torch.testing.assert_close(mine.grad.cpu(), other.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", CONFIGS[:2], ids=name)
def test_logprobs_come_with_the_loss_from_hidden(config):
    found = []
    for case in (Case(), on_gpu(Case())):
        packed = pack_tokens("test", M, STARTS, case.advantages_N, config=config, **case.per_token)
        factors = [leaf(x) for x in (case.hidden_MH, case.head_VH, case.bias_V)]
        rest = (case.tokens_M, packed, TEMPERATURE)
        found.append(packed_loss_from_hidden(*factors, *rest, budget_bytes=5 * 4 * V)[2])
    assert found[1].is_cuda and found[1].dtype == torch.float32 and not found[1].requires_grad
    torch.testing.assert_close(found[1].cpu(), found[0], rtol=1e-5, atol=1e-5)
    assert (found[0] == 0).equal(~Case().mask_M)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logprobs_from_hidden_are_the_cpus(dtype):
    results = []
    for case in (Case(), on_gpu(Case())):
        factors = [leaf(x.to(dtype)) for x in (case.hidden_MH, case.head_VH, case.bias_V)]
        scored = logprobs_from_hidden(
            *factors[:2],
            case.tokens_M,
            lm_head_bias=factors[2],
            temperature=TEMPERATURE,
            budget_bytes=5 * 8 * V,
        )
        (scored[0].square().sum() + scored[1].sum()).backward()
        results.append([*(x.detach() for x in scored), *(x.grad for x in factors)])
    for mine, theirs in zip(results[1][:2], results[0][:2], strict=True):
        torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-5, atol=2e-5)
    for mine, theirs in zip(results[1][2:], results[0][2:], strict=True):
        error = (mine.cpu().float() - theirs.float()).norm() / theirs.float().norm()
        # bfloat16: the gradient of the logits is rounded once, and so is the result
        assert error < (1e-2 if dtype == torch.bfloat16 else 1e-4)


def test_the_tokens_of_a_loss_wait_for_no_gpu():
    case, counted_K = on_gpu(Case()), Case().mask_M.nonzero().flatten()
    given = {key: value for key, value in case.per_token.items() if key != "mask"}
    advantages_N = case.advantages_N.cpu()
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        packed = pack_tokens("test", M, STARTS, advantages_N, config=CONFIGS[0], **given)
        packed.take(counted_K).kernel_tokens(torch.device("cuda"))
    finally:
        torch.cuda.set_sync_debug_mode(before)
    assert packed.old_logprobs.is_cuda and packed.weights_M.device.type == "cpu"


@pytest.mark.parametrize("config", CONFIGS, ids=name)
def test_the_door_from_logprobs_gives_what_it_gives_on_the_cpu(config):
    case = Case()
    logprobs_M, _ = token_logprobs(case.logits_MV, case.tokens_M, temperature=TEMPERATURE)
    values = {key: case.padded(value) for key, value in case.per_token.items()}
    results = []
    for device in ("cpu", "cuda"):
        ours = leaf(case.padded(logprobs_M).to(device))
        loss, metrics = grpo_loss(
            ours,
            case.advantages_N.to(device),
            **{key: value.to(device) for key, value in values.items()},
            config=replace(config, entropy_coef=0.0),
        )
        loss.backward()
        results.append((loss.detach().cpu(), ours.grad.cpu(), metrics.kl))
    (loss, gradient, kl), (actual, actual_gradient, actual_kl) = results
    torch.testing.assert_close(actual, loss, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(actual_gradient, gradient, rtol=1e-6, atol=1e-8)
    assert actual_kl == pytest.approx(kl, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("M,V", SHAPES[2:])
def test_the_loss_in_place_matches_the_scorer_and_the_oracle(M, V, dtype):
    logits_MV, tokens_M = rows_of_logits(M, V, dtype, seed=3)
    starts, advantages_M, per_token = packed(M, V)
    config = LossConfig(loss_type="dapo", beta=0.0)
    exact = leaf(logits_MV.double())
    logprobs_M, _ = oracle.token_logprobs(exact, tokens_M, temperature=0.7)
    ours = leaf(logits_MV)
    loss, metrics = grpo_loss_from_logits(
        ours, tokens_M, starts, advantages_M, temperature=0.7, config=config, **per_token
    )
    ratio_M = (logprobs_M - per_token["old_logprobs"].double()).exp()
    bounded_M = ratio_M.clamp(1 - config.epsilon, 1 + (config.epsilon_high or config.epsilon))
    term_M = -torch.minimum(ratio_M * advantages_M, bounded_M * advantages_M)
    counted = per_token["mask"]
    expected = (term_M * counted).sum() / counted.sum()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-6)
    assert metrics.tokens == int(counted.sum())
    loss.backward(), expected.backward()
    rounding = 1 / 256 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=rounding, atol=1e-7)
    assert (ours.grad[~counted] == 0).all()


def test_both_kernels_of_the_loss_give_the_same_bits():
    script = Path(__file__).with_name("cuda_loss_kernels.py")
    subprocess.run([sys.executable, str(script)], check=True, timeout=180)  # a hang is a failure


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_without_a_gradient_no_memory_is_as_large_as_the_logits(level):
    logits_MV, tokens_M = rows_of_logits(100, 100_000)
    logits_MV[:7] = torch.nan  # of no token that counts
    starts, advantages_M, per_token = packed(100, 100_000)
    per_token["mask"][:7] = False
    config = LossConfig(importance_sampling_level=level)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    loss, _ = grpo_loss_from_logits(
        logits_MV, tokens_M, starts, advantages_M, config=config, **per_token
    )
    assert torch.cuda.max_memory_allocated() - before < logits_MV.nbytes / 10
    ours, _ = grpo_loss_from_logits(
        leaf(logits_MV), tokens_M, starts, advantages_M, config=config, **per_token
    )
    assert loss.isfinite() and torch.equal(loss, ours.detach())


@pytest.mark.parametrize("door", ["logits", "hidden"])
def test_two_runs_give_the_same_bits(door):
    M, V, H = 515, 32_003, 64
    generator = torch.Generator("cuda").manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, device="cuda")  # noqa: E731
    hidden_MH, head_VH = draw(M, H).bfloat16(), (draw(V, H) / 8).bfloat16()
    tokens_M = torch.randint(V, (M,), generator=generator, device="cuda")
    starts, advantages_M, per_token = packed(M, V)
    config = LossConfig(loss_type="dapo", entropy_coef=0.01)
    results = []
    for _ in range(2):
        leaves = [leaf(hidden_MH), leaf(head_VH)]
        if door == "hidden":
            loss, _ = grpo_loss_from_hidden(
                *leaves, tokens_M, starts, advantages_M, config=config, **per_token
            )
        else:
            leaves = [leaf(hidden_MH @ head_VH.T)]
            loss, _ = grpo_loss_from_logits(
                leaves[0], tokens_M, starts, advantages_M, config=config, **per_token
            )
        loss.backward()
        results.append([loss.detach(), *(x.grad for x in leaves)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_a_bfloat16_head_keeps_float32_logits():
    M, V, H = 64, 5000, 256
    generator = torch.Generator("cuda").manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, device="cuda")  # noqa: E731
    hidden_MH, head_VH = draw(M, H).bfloat16(), (draw(V, H) / 4).bfloat16()
    tokens_M = torch.randint(V, (M,), generator=generator, device="cuda")
    config = LossConfig(
        loss_type="cispo", epsilon_high=5
    )  # on policy the loss tells the log-probabilities
    leaves = [leaf(hidden_MH), leaf(head_VH)]
    starts, advantages_M = torch.arange(M + 1), draw(M)
    loss, _ = grpo_loss_from_hidden(*leaves, tokens_M, starts, advantages_M, config=config)
    exact = [leaf(x.double()) for x in (hidden_MH, head_VH)]
    logprobs_M, _ = oracle.token_logprobs(exact[0] @ exact[1].T, tokens_M)
    expected = -(advantages_M * logprobs_M).mean()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    loss.backward(), expected.backward()
    for mine, theirs in zip(leaves, exact, strict=True):
        error = (mine.grad.double() - theirs.grad).norm() / theirs.grad.norm()
        assert error < 5e-3  # the gradient of the logits is rounded to bfloat16 once


def test_more_than_2_31_elements():
    M, V = 16_384, 151_936  # 2.5e9 logits, 5 GB
    if torch.cuda.mem_get_info()[0] < 24e9:
        pytest.skip("needs 24 GB of free GPU memory")
    logits_MV = torch.randn(M, V, device="cuda", dtype=torch.bfloat16)
    tokens_M = torch.randint(V, (M,), device="cuda")
    last = leaf(logits_MV[-3:])
    ours = logits_MV.requires_grad_()
    advantages_M = torch.randn(M, device="cuda")
    weights = {"config": LossConfig(loss_type="dapo")}
    logprobs_M, _ = token_logprobs(ours.detach(), tokens_M)
    torch.testing.assert_close(
        logprobs_M[-3:].double(), oracle.token_logprobs(last.double(), tokens_M[-3:])[0].detach(),
        rtol=1e-5, atol=5e-6,
    )  # fmt: skip
    loss, _ = grpo_loss_from_logits(ours, tokens_M, torch.arange(M + 1), advantages_M, **weights)
    loss.backward()
    few, _ = grpo_loss_from_logits(
        last, tokens_M[-3:], torch.arange(4), advantages_M[-3:], **weights
    )
    few.backward()
    torch.testing.assert_close(
        ours.grad[-3:].float() * M, last.grad.float() * 3, rtol=0.01, atol=1e-5
    )


def test_torch_compile_traces_through_the_scorer():
    logits_MV, tokens_M = rows_of_logits(8, 3000)

    def score(logits_MV):
        return token_logprobs(2 * logits_MV, tokens_M)[0].sum()

    compiled = torch.compile(score, fullgraph=True)
    torch.testing.assert_close(compiled(logits_MV), score(logits_MV))


def test_a_side_stream_is_used():
    logits_MV, tokens_M = rows_of_logits(64, 100_000)
    expected, _ = token_logprobs(logits_MV, tokens_M)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10**8)  # clock cycles, so that another stream reads `later` too early
        later = logits_MV * 1.0
        actual, _ = token_logprobs(later, tokens_M)
    stream.synchronize()
    assert torch.equal(actual, expected)


def test_offsets_may_be_on_the_gpu():
    case = on_gpu(Case())
    expected, _ = case.from_logits(case.logits_MV, CONFIGS[0])
    actual, _ = grpo_loss_from_logits(
        case.logits_MV,
        case.tokens_M,
        STARTS.cuda(),
        case.advantages_N,
        temperature=TEMPERATURE,
        config=CONFIGS[0],
        **case.per_token,
    )
    assert torch.equal(actual, expected)

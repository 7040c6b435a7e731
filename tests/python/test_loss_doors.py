"""What the loss from logits and the loss from hidden states have in common."""

from dataclasses import replace

import pytest
import torch
from packed_case import (
    CONFIGS,
    Case,
    M,
    gradients,
    leaf,
    name,
)

from r1core.grpo_loss import LossConfig
from r1core.grpo_loss_from_hidden import grpo_loss_from_hidden
from r1core.grpo_loss_from_logits import grpo_loss_from_logits
from r1core.logprob import token_logprobs
from r1core.loss_tokens import pack_tokens


def every_result(config):
    """Losses and gradients of both doors on rows enough for several threads."""
    generator = torch.Generator().manual_seed(1)
    rows, vocab = 300, 8_192
    logits = torch.randn(rows, vocab, generator=generator)
    hidden, head = (torch.randn(n, 16, generator=generator) for n in (rows, vocab))
    ids = torch.randint(vocab, (rows,), generator=generator)
    logprobs, _ = token_logprobs(logits, ids)
    noise = torch.randn(2, rows, generator=generator) / 4
    arguments = {
        "old_logprobs": logprobs + noise[0],
        "reference_logprobs": logprobs + noise[1],
        "mask": noise[1] > -0.2,
        "config": config,
    }
    advantages, starts = torch.randn(3, generator=generator), torch.tensor([0, 90, 91, rows])
    results = []
    for leaves, door in (
        ([leaf(logits)], grpo_loss_from_logits),
        ([leaf(hidden), leaf(head)], grpo_loss_from_hidden),
    ):
        loss, _ = door(*leaves, ids, starts, advantages, **arguments)
        results.append([loss, *gradients(loss, *leaves)])
    return results


def test_packed_tokens_stay_where_they_are():
    there = torch.zeros(4, device="meta")  # has no values: whoever moved it would fail
    given = {"old_logprobs": there, "reference_logprobs": there, "importance_weights": there}
    starts, mask_M = torch.tensor([0, 4]), torch.tensor([True, False, True, True])
    packed = pack_tokens(
        "test", 4, starts, torch.ones(1), mask=mask_M, config=LossConfig(), **given
    ).take(mask_M.nonzero().flatten())
    for key in given:
        assert getattr(packed, key).is_meta and len(getattr(packed, key)) == 3
    assert packed.weights_M.device == packed.advantages_M.device == torch.device("cpu")


@pytest.mark.parametrize("config", CONFIGS[:2], ids=name)
def test_two_runs_give_the_same_bits_and_from_logits_on_any_number_of_threads(config):
    threads = torch.get_num_threads()
    try:
        results = {}
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            first, second = every_result(config), every_result(config)
            for one, two in zip(first, second, strict=True):
                assert all(map(torch.equal, one, two))
            results[count] = first[0]
        assert all(map(torch.equal, results[1], results[2]))
        assert all(map(torch.equal, results[1], results[3]))
    finally:
        torch.set_num_threads(threads)


def test_masked_rows_are_not_read():
    case, config = Case(), CONFIGS[0]
    for values in (case.logits_MV, case.hidden_MH):
        values[~case.mask_M] = torch.nan
    logits, hidden, head = leaf(case.logits_MV), leaf(case.hidden_MH), leaf(case.head_VH)
    for loss, leaves in (
        (case.from_logits(logits, config)[0], [logits]),
        (case.from_hidden(hidden, head, config)[0], [hidden, head]),
    ):
        assert loss.isfinite()
        for gradient in gradients(loss, *leaves):
            assert gradient.isfinite().all()
            assert len(gradient) != M or (gradient[~case.mask_M] == 0).all()


@pytest.mark.parametrize("config", CONFIGS[:2], ids=name)
@pytest.mark.parametrize("rows", [0, 5])
def test_nothing_to_train_on_gives_zero(config, rows):
    ids, starts = torch.zeros(rows, dtype=torch.int64), torch.tensor([0, rows])
    config = replace(config, beta=0.0)
    logits, hidden, head = (torch.ones(n, 4).requires_grad_() for n in (rows, rows, 6))
    nothing = torch.zeros(rows, dtype=torch.bool)
    for door, leaves in (
        (grpo_loss_from_logits, [logits]),
        (grpo_loss_from_hidden, [hidden, head]),
    ):
        loss, metrics = door(*leaves, ids, starts, torch.ones(1), mask=nothing, config=config)
        assert loss.item() == 0 and metrics.tokens == 0
        assert all((gradient == 0).all() for gradient in gradients(loss, *leaves))


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo looks at every tensor's
def test_compiled_code_breaks_its_graph_at_the_doors():
    case, config = Case(), CONFIGS[0]

    def through_logits(logits):
        return 2 * case.from_logits(logits * 1.5, config)[0]

    def through_hidden(hidden):
        return 2 * case.from_hidden(hidden * 1.5, case.head_VH, config)[0]

    for function, values in ((through_logits, case.logits_MV), (through_hidden, case.hidden_MH)):
        plain, compiled = leaf(values), leaf(values)
        function(plain).backward()
        torch.compile(function, backend="eager")(compiled).backward()
        assert torch.equal(plain.grad, compiled.grad)
        torch.compiler.reset()  # forgets the pieces between the breaks
        with pytest.raises(torch._dynamo.exc.Unsupported):
            torch.compile(function, backend="eager", fullgraph=True)(leaf(values))


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"sequence_starts": torch.tensor([0, 1])}, r"must rise from 0 to M = 4; got \[0, 1\]"),
        ({"sequence_starts": torch.tensor([0, 3, 2, 4])}, "must rise from 0 to M = 4"),
        ({"sequence_starts": torch.zeros(3)}, r"sequence_starts must be \[N \+ 1\] int64"),
        ({"advantages": torch.ones(3)}, r"advantages must be \[N\] or \[M\] with N, M = 2, 4"),
        ({"mask": torch.ones(4)}, "mask must be bool; got torch.float32"),
        ({"mask": torch.ones(3, dtype=torch.bool)}, r"mask must be \[M\] = \[4\]; got \[3\]"),
        ({"old_logprobs": torch.ones(2, 2)}, r"old_logprobs must be \[M\] = \[4\]; got \[2, 2\]"),
        ({"config": LossConfig(beta=1)}, "reference_logprobs must be given where beta > 0"),
        ({"tokens_M": torch.tensor([0, 1, 2, 7])}, r"tokens must be in \[0, 5\); got 7"),
        ({"tokens_M": torch.zeros(4)}, "tokens must be int64"),
        ({"temperature": 0.0}, "temperature must be finite and > 0; got 0"),
    ],
)
def test_both_doors_reject_what_does_not_fit(changes, message):
    arguments = {
        "tokens_M": torch.tensor([0, 1, 2, 3]),
        "sequence_starts": torch.tensor([0, 1, 4]),
        "advantages": torch.ones(2),
        "config": LossConfig(),
    } | changes
    for door, factors in (
        (grpo_loss_from_logits, (torch.zeros(4, 5),)),
        (grpo_loss_from_hidden, (torch.zeros(4, 6), torch.zeros(5, 6))),
    ):
        with pytest.raises(ValueError, match=f"^{door.__name__}: .*{message}"):
            door(*factors, **arguments)


@pytest.mark.parametrize(
    "factors,changes,message",
    [
        ((torch.zeros(4, 5).double(),), {}, "logits must be float32 or bfloat16; got float64"),
        ((torch.zeros(3, 5),), {}, r"tokens must be \[M = 3\]; got \[4\]"),
        ((torch.zeros(4, 6), torch.zeros(5, 7)), {}, r"lm_head must be \[V >= 1, H = 6\]"),
        ((torch.zeros(4, 6).int(), torch.zeros(5, 6)), {}, r"hidden must be \[M, H\] float32"),
        (
            (torch.zeros(4, 6), torch.zeros(5, 6)),
            {"lm_head_bias": torch.zeros(4)},
            r"lm_head_bias must be \[V = 5\] float32 or bfloat16; got \[4\] float32",
        ),
        (
            (torch.zeros(4, 6), torch.zeros(5, 6)),
            {"budget_bytes": 0},
            "budget_bytes must be > 0; got 0",
        ),
        (
            (torch.zeros(4, 6), torch.zeros(5, 6)),
            {"lm_head_bias": torch.zeros(5).long()},
            r"lm_head_bias must be \[V = 5\] float32 or bfloat16; got \[5\] int64",
        ),
        (
            (torch.zeros(4, 6), torch.zeros(5, 6)),
            {"lm_head_bias": torch.zeros(5, device="meta")},
            "lm_head_bias must be on cpu as hidden is; got meta",
        ),
        (
            (torch.zeros(4, 6, device="meta"), torch.zeros(5, 6)),
            {},
            "tokens must be on meta as hidden is; got cpu",
        ),
        *(
            ((torch.zeros(size), torch.zeros(5, 6)), {"mask": mask}, r"hidden must be \[M, H\]")
            for size in ((5, 6), (2, 6), (4,))
            for mask in (None, torch.tensor([True, False, True, True]))
        ),
    ],
)
def test_each_door_rejects_its_own_wrong_factors(factors, changes, message):
    door = grpo_loss_from_logits if len(factors) == 1 else grpo_loss_from_hidden
    ids, starts = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 4])
    with pytest.raises(ValueError, match=f"^{door.__name__}: {message}"):
        door(*factors, ids, starts, torch.ones(1), config=LossConfig(), **changes)

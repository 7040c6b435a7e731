"""GRPO loss and its gradient from logits: r1core in place beside TRL's formula, eager and compiled.

TRL computes the entropies in every step, so its side does; r1core's kernel has them in the same
pass. The peers' gradient is a new [M, V] tensor; r1core's overwrites the logits, so a fresh copy is
made before each run, outside the timing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from common import Case, Side, compare, run_topic
from losses import CONFIG, Inputs, T, trl_loss
from torch import Tensor
from trl.trainer.utils import entropy_from_logits, selective_log_softmax

import r1core as r1

SHAPES = (
    (2048, 8192, torch.float32),
    (512, 151_936, torch.float32),
    (2048, 8192, torch.bfloat16),
)
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # relative to the largest element

Differentiated = Callable[[Tensor, Inputs], tuple[Tensor, Tensor]]
"""Maps logits that require a gradient, and the rest, to (loss, gradient)."""


def main() -> None:
    run_topic("loss_from_logits", cases)


def cases(rounds: int) -> Iterator[Case]:
    for M, V, dtype in SHAPES:
        logits_MV = torch.empty(M, V, dtype=dtype)
        logits_MV.normal_(generator=torch.Generator().manual_seed(0))
        inputs, buffer_MV = Inputs.random(logits_MV), torch.empty_like(logits_MV)
        check(logits_MV, inputs)
        sides = {
            "r1core": side(ours, logits_MV, buffer_MV, inputs),
            "TRL's formula": side(eager, logits_MV, buffer_MV, inputs),
            "torch.compile": side(compiled, logits_MV, buffer_MV, inputs),
        }
        name = f"{str(dtype).removeprefix('torch.')} [{M}, {V}]"
        size = round(logits_MV.nbytes / 2**20, 1)
        yield compare(name, sides, rounds=rounds, memory=True, logits_mb=size)


def side(loss: Differentiated, logits_MV: Tensor, buffer_MV: Tensor, inputs: Inputs) -> Side:
    """Return a side that works on a fresh copy of the logits, in one buffer for all."""
    return Side(
        run=lambda: loss(buffer_MV.detach().requires_grad_(), inputs),
        prepare=lambda: buffer_MV.copy_(logits_MV),
    )


def ours(logits_MV: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    loss, _ = r1.grpo_loss_from_logits(
        logits_MV,
        inputs.tokens_M,
        inputs.sequence_starts,
        inputs.advantages_N,
        reference_logprobs=inputs.reference_logprobs_M,
        config=CONFIG,
    )
    return loss, torch.autograd.grad(loss, logits_MV)[0]


def eager(logits_MV: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Call TRL's own functions on [N, T, V], as its trainer does."""
    logits_NTV = logits_MV.view(-1, T, logits_MV.shape[-1])
    logprobs_NT = selective_log_softmax(logits_NTV, inputs.tokens_M.view(-1, T))
    with torch.no_grad():
        entropy_from_logits(logits_NTV)
    loss = trl_loss(logprobs_NT.float(), inputs)
    return loss, torch.autograd.grad(loss, logits_MV)[0]


@torch.compile(dynamic=False)  # a program for each shape, as a trainer with one shape has it
def log_softmax_loss(logits_MV: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """The form that compiles best: one log_softmax for both log-probabilities and entropies."""
    log_p_MV = logits_MV.float().log_softmax(-1)
    with torch.no_grad():
        entropies_M = -(log_p_MV.exp() * log_p_MV).sum(-1)
    return trl_loss(log_p_MV.gather(-1, inputs.tokens_M[:, None]), inputs), entropies_M


def compiled(logits_MV: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    loss, _ = log_softmax_loss(logits_MV, inputs)
    return loss, torch.autograd.grad(loss, logits_MV)[0]


def check(logits_MV: Tensor, inputs: Inputs) -> None:
    """Hold all sides to one loss and one gradient."""
    expected, expected_MV = eager(logits_MV.clone().requires_grad_(), inputs)
    largest, tolerance = expected_MV.abs().max(), TOLERANCE[logits_MV.dtype]
    for loss in (ours, compiled):
        actual, actual_MV = loss(logits_MV.clone().requires_grad_(), inputs)
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
        assert (actual_MV - expected_MV).abs().max() <= tolerance * largest, loss.__name__


if __name__ == "__main__":
    main()

"""lm_head, GRPO loss and both gradients: r1core in chunks beside TRL's chunked path.

The floor is the three matrix products alone: logits, and the gradients of the hidden states and of
the head. A ratio below 1 to the floor is what the loss costs on top.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from common import Case, Side, compare, run_topic
from losses import CONFIG, Inputs, trl_loss
from torch import Tensor
from trl.kernels import ChunkedLogProbFunction
from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE

import r1core as r1

M, H, V = 2048, 512, 32_768
BUDGETS = {"budget of all logits": 4 * M * V, "budget 32 MB": 32 * 2**20}
TOLERANCE = 1e-3  # relative to the largest element


def main() -> None:
    run_topic("loss_from_hidden", cases)


def cases(rounds: int) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    hidden_MH = torch.randn(M, H, generator=generator).requires_grad_()
    head_VH = (0.02 * torch.randn(V, H, generator=generator)).requires_grad_()
    with torch.no_grad():
        inputs = Inputs.random(hidden_MH @ head_VH.T)
    for name, budget in BUDGETS.items():
        check(hidden_MH, head_VH, inputs, budget)
        sides = {
            "r1core": Side(lambda budget=budget: ours(hidden_MH, head_VH, inputs, budget)),
            "three matrix products": Side(lambda: products(hidden_MH, head_VH)),
            "TRL, chunked": Side(lambda: theirs(hidden_MH, head_VH, inputs)),
        }
        shape = f"[{M}, {H}] x [{V}, {H}], {name}"
        yield compare(shape, sides, rounds=rounds, memory=True)


def ours(
    hidden_MH: Tensor, head_VH: Tensor, inputs: Inputs, budget_bytes: int
) -> tuple[Tensor, ...]:
    loss, _ = r1.grpo_loss_from_hidden(
        hidden_MH,
        head_VH,
        inputs.tokens_M,
        inputs.sequence_starts,
        inputs.advantages_N,
        reference_logprobs=inputs.reference_logprobs_M,
        config=CONFIG,
        budget_bytes=budget_bytes,
    )
    return loss, *torch.autograd.grad(loss, (hidden_MH, head_VH))


def theirs(hidden_MH: Tensor, head_VH: Tensor, inputs: Inputs) -> tuple[Tensor, ...]:
    """What TRL's trainer runs where there is no Triton."""
    no_bias = no_softcap = None
    temperature = logit_scale = 1.0
    logprobs_M, *_ = ChunkedLogProbFunction.apply(
        hidden_MH,
        head_VH,
        no_bias,
        inputs.tokens_M,
        temperature,
        _CHUNKED_LOGPROB_CHUNK_SIZE,
        no_softcap,
        logit_scale,
        ("log_probs", "entropy"),
    )
    loss = trl_loss(logprobs_M, inputs)
    return loss, *torch.autograd.grad(loss, (hidden_MH, head_VH))


@torch.no_grad()
def products(hidden_MH: Tensor, head_VH: Tensor) -> tuple[Tensor, Tensor]:
    logits_MV = hidden_MH @ head_VH.T
    return logits_MV @ head_VH, logits_MV.T @ hidden_MH


def check(hidden_MH: Tensor, head_VH: Tensor, inputs: Inputs, budget_bytes: int) -> None:
    """Hold both sides to one loss and the same gradients."""
    expected = theirs(hidden_MH, head_VH, inputs)
    actual = ours(hidden_MH, head_VH, inputs, budget_bytes)
    for mine, other in zip(actual, expected, strict=True):
        assert (mine - other).abs().max() <= TOLERANCE * other.abs().max()


if __name__ == "__main__":
    main()

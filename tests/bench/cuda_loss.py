"""The loss on a GPU: from logits beside torch, from hidden states beside its three bare products.

Shapes: M tokens, V vocabulary, H hidden.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cuda_clock import copy_gigabytes_per_second, microseconds, row
from torch import Tensor

from r1core import _C
from r1core.cuda import stream_of
from r1core.grpo_loss import LossConfig
from r1core.grpo_loss_from_hidden import grpo_loss_from_hidden
from r1core.logprob import token_logprobs

M, V, H = 16_384, 151_936, 1536
CONFIG = LossConfig(loss_type="dapo", beta=0.04)


def measure() -> list[dict[str, Any]]:
    """Return a line per work and side."""
    copy, ours = copy_gigabytes_per_second(), kernels()
    return [*from_logits(copy, ours), *scorer(copy), *from_hidden(copy, ours)]


class Tokens:
    """What the loss of M tokens depends on."""

    def __init__(self, count: int) -> None:
        draw = torch.randn(3, count, device="cuda")
        self.ids_M = torch.randint(V, (count,), device="cuda")
        self.advantages_M, self.old_M, self.reference_M = draw[0], draw[1] - 12, draw[2] - 12
        self.starts = torch.arange(0, count + 1, 1024)

    def kernel_tokens(self) -> _C.GrpoTokens:
        weights_M = torch.full_like(self.advantages_M, 1 / len(self.ids_M))
        return _C.GrpoTokens(
            self.starts, self.advantages_M, weights_M, self.old_M, self.reference_M, None
        )

    def eager(self, logits_MV: Tensor) -> Tensor:
        """TRL's formula, with the gradient through autograd."""
        log_p_MV = logits_MV.float().log_softmax(-1)
        logprobs_M = log_p_MV.gather(-1, self.ids_M[:, None]).squeeze(-1)
        ratio_M = (logprobs_M - self.old_M).exp()
        clipped_M = ratio_M.clamp(0.8, 1.2)
        surrogate_M = torch.minimum(ratio_M * self.advantages_M, clipped_M * self.advantages_M)
        difference_M = self.reference_M - logprobs_M
        kl_M = difference_M.exp() - difference_M - 1
        return (-surrogate_M + CONFIG.beta * kl_M).mean()


def backward_of(loss: Callable[[Tensor], Tensor], logits_MV: Tensor) -> None:
    logits_MV.grad = None
    loss(logits_MV).backward()  # type: ignore[no-untyped-call]


def kernels() -> dict[str, str]:
    """Return the sides that are ours, with R1CORE_LOSS_KERNEL of each: those that work."""
    script = Path(__file__).parents[1] / "python" / "cuda_loss_kernels.py"
    try:
        subprocess.run([sys.executable, str(script)], check=True, timeout=180)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"the pipelined loss is not timed: {error}", flush=True)
        return {"r1core": "resident"}
    return {"r1core": "resident", "r1core, pipelined": "pipelined"}


def from_logits(copy: float, kernel_of: dict[str, str]) -> list[dict[str, Any]]:
    """The gradient in place of the logits, bfloat16 and float32."""
    lines = []
    for dtype, count in ((torch.bfloat16, M), (torch.float32, M // 2)):
        logits_MV = torch.randn(count, V, device="cuda", dtype=dtype)
        tokens = Tokens(count)
        ours = in_place(logits_MV, tokens)
        source_MV = logits_MV.clone()
        work = f"loss [{count}, {V}] {str(dtype)[6:]}"
        moved = 2 * logits_MV.numel() * logits_MV.element_size()
        for side, kernel in kernel_of.items():
            os.environ["R1CORE_LOSS_KERNEL"] = kernel
            time = microseconds(ours, prepare=partial(logits_MV.copy_, source_MV))
            lines.append(row(work, side, time, moved, copy))
        del logits_MV, source_MV, ours
        few = count // 4  # eager holds several [M, V] float32
        part = Tokens(few)
        peer_MV = torch.randn(few, V, device="cuda", dtype=dtype).requires_grad_()
        sides = {"torch eager": part.eager, "torch.compile": torch.compile(part.eager)}
        for side, loss in sides.items():
            time = microseconds(lambda _, loss=loss, peer=peer_MV: backward_of(loss, peer), 5)
            lines.append(row(f"{work}, a quarter of the rows x 4", side, 4 * time, moved, copy))
        del peer_MV
        torch.cuda.empty_cache()
    return lines


def in_place(logits_MV: Tensor, tokens: Tokens) -> Callable[[int], object]:
    """Return a run of the kernel alone, whose gradient overwrites the logits."""
    kernel_tokens, options = tokens.kernel_tokens(), CONFIG.kernel_options()
    return lambda _: _C.grpo_loss_from_logits(
        logits_MV,
        tokens.ids_M,
        kernel_tokens,
        options,
        1.0,
        0.0,
        True,
        stream_of(logits_MV),
    )


def scorer(copy: float) -> list[dict[str, Any]]:
    """Log-probabilities and entropies, forward alone."""
    logits_MV = torch.randn(M, V, device="cuda", dtype=torch.bfloat16)
    ids_M = torch.randint(V, (M,), device="cuda")
    time = microseconds(lambda _, logits_MV=logits_MV: token_logprobs(logits_MV, ids_M))
    moved = logits_MV.numel() * 2
    line = row(f"token_logprobs [{M}, {V}] bfloat16", "r1core", time, moved, copy)
    del logits_MV
    torch.cuda.empty_cache()
    return [line]


def from_hidden(copy: float, kernel_of: dict[str, str]) -> list[dict[str, Any]]:
    """Both factors in bfloat16: loss and gradients beside the three products alone."""
    hidden_MH = torch.randn(M, H, device="cuda").bfloat16().requires_grad_()
    head_VH = (torch.randn(V, H, device="cuda") / 40).bfloat16().requires_grad_()
    tokens = Tokens(M)
    chunk = 4096
    logits_CV = torch.empty(chunk, V, device="cuda", dtype=torch.bfloat16)
    grad_VH = torch.empty(V, H, device="cuda", dtype=torch.bfloat16)

    def bare(_: int) -> None:
        with torch.no_grad():
            for part_CH in hidden_MH.split(chunk):
                torch.mm(part_CH, head_VH.t(), out=logits_CV)
                torch.mm(logits_CV, head_VH)
                torch.mm(logits_CV.t(), part_CH, out=grad_VH)

    def ours(_: int) -> None:
        hidden_MH.grad = head_VH.grad = None
        loss, _metrics = grpo_loss_from_hidden(
            hidden_MH,
            head_VH,
            tokens.ids_M,
            tokens.starts,
            tokens.advantages_M,
            old_logprobs=tokens.old_M,
            reference_logprobs=tokens.reference_M,
            config=CONFIG,
        )
        loss.backward()  # type: ignore[no-untyped-call]

    work = f"linear + loss [{M}, {H}] x [{V}, {H}] bfloat16"
    flops = 6 * M * H * V
    lines = []
    for side, run in ({"three bare products": bare} | dict.fromkeys(kernel_of, ours)).items():
        os.environ["R1CORE_LOSS_KERNEL"] = kernel_of.get(side, "resident")
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        time = microseconds(run, 7)
        line = row(work, side, time, flops, copy)
        peak = torch.cuda.max_memory_allocated() - before
        tflops = round(flops / time / 1e6)
        lines.append(
            {"work": work, "side": side, "us": line["us"], "TFLOP/s": tflops, "MB": peak >> 20}
        )
    return lines

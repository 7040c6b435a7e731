"""The parts of a decoder layer between its products, on a GPU, beside torch eager and compiled.

Our kernels are called without autograd around them, torch's backward through `autograd.grad` of a
graph that is kept; both queue faster than the GPU works. Every input is larger than the L2 cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch._functorch.config
from cuda_clock import copy_gigabytes_per_second, microseconds, row
from torch import Tensor
from torch.nn import functional as F

from r1core import _C
from r1core.cuda import stream_of

TOKENS, HIDDEN, FEED_FORWARD = 16_384, 4096, 11_008
HEADS, HEAD_DIM = 32 + 8, 128
EPS = 1e-6
BYTES = 2  # of a bfloat16

Lines = Iterator[dict[str, Any]]
Peer = Callable[..., Tensor | tuple[Tensor, ...]]


def measure() -> list[dict[str, Any]]:
    """Return a line per work and side."""
    copy = copy_gigabytes_per_second()
    torch._functorch.config.donated_buffer = False  # the backward runs again and again
    lines: list[dict[str, Any]] = []
    for topic in (norm, head_norm, rope, swiglu):
        lines += topic(copy)
        torch.cuda.empty_cache()
    return lines


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def beside(
    work: str, ours: Callable[[], object], peer: Callable[[Peer], object], formula: Peer,
    moved: int, copy: float,
) -> Lines:  # fmt: skip
    """Yield a line for our kernel and for the formula, eager and compiled.

    Args:
        work: what is done, with its shape.
        ours: calls the kernel.
        peer: runs the formula that it is given, or its backward.
        formula: the same in PyTorch.
        moved: the fewest bytes that the work must move.
        copy: GB/s of a copy on this device.
    """
    yield row(work, "r1core", microseconds(lambda _: ours()), moved, copy)
    for side, function in (("torch eager", formula), ("torch.compile", torch.compile(formula))):
        yield row(work, side, microseconds(lambda _, f=function: peer(f)), moved, copy)


def backward_of(inputs: list[Tensor], pulls: list[Tensor]) -> Callable[[Peer], object]:
    """Return what differentiates a formula by its inputs; it runs forward once."""
    graphs: dict[int, tuple[Peer, Any]] = {}

    def run(formula: Peer) -> object:
        if id(formula) not in graphs:
            graphs.clear()
            graphs[id(formula)] = formula, formula(*inputs)
        return torch.autograd.grad(graphs[id(formula)][1], inputs, pulls, retain_graph=True)

    return run


def forward_of(inputs: list[Tensor]) -> Callable[[Peer], object]:
    """Return what calls a formula without a graph."""

    def run(formula: Peer) -> object:
        with torch.no_grad():
            return formula(*inputs)

    return run


def norm(copy: float) -> Lines:
    """RMSNorm with the residual added before."""
    x, residual, dy, dh = (draw(TOKENS, HIDDEN) for _ in range(4))
    weight = draw(HIDDEN)
    stream = stream_of(x)

    def formula(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        h = x + residual
        return F.rms_norm(h, (HIDDEN,), weight, EPS), h

    inputs = [t.requires_grad_() for t in (x, residual, weight)]
    plain = [t.detach() for t in inputs]
    moved = 4 * x.numel() * BYTES
    shape = f"[{TOKENS}, {HIDDEN}] bfloat16"
    yield from beside(
        f"add + RMSNorm {shape}",
        lambda: _C.rms_norm(plain[0], plain[2], EPS, plain[1], stream),
        forward_of(inputs), formula, moved, copy,
    )  # fmt: skip
    yield from beside(
        f"add + RMSNorm backward {shape}",
        lambda: _C.rms_norm_backward(plain[0], dy, plain[2], EPS, dh, True, stream),
        backward_of(inputs, [dy, dh]), formula, moved, copy,
    )  # fmt: skip


def head_norm(copy: float) -> Lines:
    """RMSNorm of each query's and key's head, in the buffer that they share with the values."""
    packed = draw(TOKENS, HEADS + 8, HEAD_DIM)
    x, dy = packed[:, :HEADS], draw(TOKENS, HEADS, HEAD_DIM)
    weight = draw(HEAD_DIM)
    stream = stream_of(x)

    def formula(x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (HEAD_DIM,), weight, EPS)

    inputs = [t.detach().requires_grad_() for t in (x, weight)]
    shape = f"[{TOKENS}, {HEADS}, {HEAD_DIM}] bfloat16"
    yield from beside(
        f"RMSNorm of heads {shape}", lambda: _C.rms_norm(x, weight, EPS, None, stream),
        forward_of(inputs), formula, 2 * x.numel() * BYTES, copy,
    )  # fmt: skip
    yield from beside(
        f"RMSNorm of heads backward {shape}",
        lambda: _C.rms_norm_backward(x, dy, weight, EPS, None, True, stream),
        backward_of(inputs, [dy]), formula, 3 * x.numel() * BYTES, copy,
    )  # fmt: skip


def rope(copy: float) -> Lines:
    """Queries and keys together; backward is the same kernel with the other sign."""
    x = draw(TOKENS, HEADS, HEAD_DIM)
    angles = torch.rand(TOKENS, HEAD_DIM // 2, device="cuda") * 100
    cos, sin = angles.cos(), angles.sin()
    stream = stream_of(x)
    wide_cos, wide_sin = (torch.cat([t, t], -1)[:, None].bfloat16() for t in (cos, sin))

    def formula(x: Tensor) -> Tensor:  # Hugging Face's
        left, right = x.chunk(2, -1)
        return x * wide_cos + torch.cat([-right, left], -1) * wide_sin

    yield from beside(
        f"RoPE [{TOKENS}, {HEADS}, {HEAD_DIM}] bfloat16",
        lambda: _C.apply_rope(x, cos, sin, False, stream),
        forward_of([x]), formula, 2 * x.numel() * BYTES + 8 * cos.numel(), copy,
    )  # fmt: skip


def swiglu(copy: float) -> Lines:
    """Gate and up in one product, as a fused projection gives them; and apart, backward."""
    both, dy = draw(TOKENS, 2 * FEED_FORWARD), draw(TOKENS, FEED_FORWARD)
    gate, up = both.chunk(2, -1)
    stream = stream_of(both)

    def formula(gate: Tensor, up: Tensor) -> Tensor:
        return F.silu(gate) * up

    inputs = [t.detach().requires_grad_() for t in (gate, up)]
    shape = f"[{TOKENS}, {FEED_FORWARD}] bfloat16"
    yield from beside(
        f"SwiGLU {shape}", lambda: _C.gated(gate, up, "swiglu", stream),
        forward_of(inputs), formula, 3 * dy.numel() * BYTES, copy,
    )  # fmt: skip
    yield from beside(
        f"SwiGLU backward {shape}", lambda: _C.gated_backward(gate, up, dy, "swiglu", stream),
        backward_of(inputs, [dy]), formula, 5 * dy.numel() * BYTES, copy,
    )  # fmt: skip


if __name__ == "__main__":
    for line in measure():
        print(line)

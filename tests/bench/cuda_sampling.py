"""Draw one token a row on a GPU: microseconds, and the share of a copy's bandwidth.

A side's calls are played from a CUDA graph over inputs that are larger together than the L2 cache,
so that neither the host nor the cache is in the figure; "eager_us" is the same call by call. The
bytes counted are the logits, once. Peers draw the token alone; r1core also gives its
log-probabilities and the entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from cuda_clock import copy_gigabytes_per_second, graph_microseconds, microseconds, row
from torch import Tensor

import r1core as r1

VOCAB = 151_936
ROWS = (256, 1024)
TOP_P, TOP_K = 0.95, 50
ROTATED_BYTES = 384 * 2**20

Draw = Callable[[Tensor], object]


def measure() -> list[dict[str, object]]:
    """Time every case and side; prints nothing."""
    return list(cases(copy_gigabytes_per_second()))


def cases(copy: float) -> Iterator[dict[str, object]]:
    """Yield the lines of every shape, dtype and kind of logits."""
    for N in ROWS:
        for dtype in (torch.bfloat16, torch.float32):
            for logits, raised in (("flat", 0.0), ("model-like", 12.0)):
                inputs = some_logits(N, dtype, raised)
                for work, sides in draws(N).items():
                    if work == "no filter" and raised:
                        continue  # the same work whatever the logits are
                    name = f"{work} [{N}, {VOCAB}] {str(dtype)[6:]} {logits}"
                    for side, draw in sides.items():
                        yield timed(name, side, draw, inputs, copy)
                del inputs


def some_logits(N: int, dtype: torch.dtype, raised: float) -> list[Tensor]:
    """Return inputs to rotate; `raised` lifts 8 tokens a row, as a language model's are."""
    generator = torch.Generator("cuda").manual_seed(0)
    count = max(2, ROTATED_BYTES // (N * VOCAB * dtype.itemsize))
    inputs = []
    for _ in range(count):
        logits_NV = 2 * torch.randn(N, VOCAB, device="cuda", generator=generator)
        likely = torch.randint(VOCAB, (N, 8), device="cuda", generator=generator)
        logits_NV.scatter_add_(1, likely, torch.full((N, 8), raised, device="cuda"))
        inputs.append(logits_NV.to(dtype))
    return inputs


def draws(N: int) -> dict[str, dict[str, Draw]]:
    """Return the sides of every case."""
    row_N = torch.arange(N, device="cuda")
    uniforms_N = r1.philox_uniforms(0, row_N, row_N, row_N)

    def ours(**filters: Any) -> Draw:
        return lambda logits_NV: r1.sample_tokens(logits_NV, uniforms_N, **filters)

    return {
        "no filter": {
            "r1core": ours(),
            "torch softmax + multinomial": lambda x: x.float().softmax(-1).multinomial(1),
            "torch exponential race": race,
            "torch.compile exponential race": torch.compile(race, dynamic=False),
        },
        "top-p 0.95": {"r1core": ours(top_p=TOP_P), "torch sort": sorted_top_p},
        "top-k 50": {"r1core": ours(top_k=TOP_K), "torch topk": top_k},
    }


def race(logits_NV: Tensor) -> Tensor:
    """Argmax of probability over an exponential number each."""
    probabilities_NV = logits_NV.float().softmax(-1)
    return (probabilities_NV / torch.empty_like(probabilities_NV).exponential_(1)).argmax(-1)


def sorted_top_p(logits_NV: Tensor) -> Tensor:
    """The nucleus as transformers finds it."""
    sorted_NV, ids_NV = logits_NV.float().sort(-1, descending=True)
    p_NV = sorted_NV.softmax(-1)
    p_NV = p_NV.masked_fill(p_NV.cumsum(-1) - p_NV >= TOP_P, 0.0)
    return ids_NV.gather(-1, (p_NV / torch.empty_like(p_NV).exponential_(1)).argmax(-1, True))


def top_k(logits_NV: Tensor) -> Tensor:
    """Fifty highest logits, one of them drawn."""
    values_NK, ids_NK = logits_NV.float().topk(TOP_K, -1)
    return ids_NK.gather(-1, values_NK.softmax(-1).multinomial(1))


def timed(
    work: str, side: str, draw: Draw, inputs: Sequence[Tensor], copy: float
) -> dict[str, object]:
    """Time one side; an error is its result."""
    try:
        graph_us = graph_microseconds([partial(draw, logits_NV) for logits_NV in inputs])
        eager_us = microseconds(lambda i: draw(inputs[i % len(inputs)]))
    except Exception as error:  # a peer that this machine lacks, or that no graph takes
        torch.cuda.synchronize()
        return {"work": work, "side": side, "error": f"{type(error).__name__}: {error}"[:200]}
    return row(work, side, graph_us, inputs[0].nbytes, copy) | {"eager_us": round(eager_us, 1)}

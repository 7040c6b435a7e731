"""Draw one token a row on a GPU: microseconds, and the share of a copy's bandwidth.

`measure()` returns a dict per case. A side's calls are captured in a CUDA graph over inputs that
are larger together than the L2 cache, so that neither the host nor the cache is in the figure;
"eager_us" is the same without a graph, host included. The bytes counted are the logits, once.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import r1core as r1

VOCAB = 151_936
ROWS = (256, 1024)
TOP_P, TOP_K = 0.95, 50
ROTATED_BYTES = 512 * 2**20
REPLAYS = 40

Draw = Callable[[Tensor], object]


def measure() -> list[dict[str, Any]]:
    """Time every case and side; prints nothing."""
    copy_gbps = copy_bandwidth()
    cases = [{"case": "device copy", "copy_GBps": copy_gbps}]
    for N in ROWS:
        for dtype in (torch.bfloat16, torch.float32):
            for name, spread in (("flat", 0.0), ("model", 12.0)):
                inputs = some_logits(N, dtype, spread)
                for case, sides in draws(N).items():
                    if case == "no filter" and name == "model":
                        continue  # the same work whatever the logits are
                    for side, draw in sides.items():
                        found = {"rows": N, "dtype": str(dtype)[6:], "logits": name, "side": side}
                        cases.append({"case": case, **found, **timed(draw, inputs, copy_gbps)})
                del inputs
    return cases


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


def timed(draw: Draw, inputs: Sequence[Tensor], copy_gbps: float) -> dict[str, Any]:
    """Time one side; an error is its result."""
    try:
        graph_us = per_call(captured(draw, inputs), len(inputs))
        eager_us = per_call(lambda: [draw(logits_NV) for logits_NV in inputs], len(inputs))
    except Exception as error:  # a peer that this machine lacks
        torch.cuda.synchronize()
        return {"error": f"{type(error).__name__}: {str(error)[:200]}"}
    gbps = inputs[0].nbytes / graph_us / 1e3
    return {
        "us": round(graph_us, 2),
        "eager_us": round(eager_us, 2),
        "GBps": round(gbps, 1),
        "share_of_copy": round(gbps / copy_gbps, 3),
    }


def captured(draw: Draw, inputs: Sequence[Tensor]) -> Callable[[], None]:
    """Return the replay of a graph that draws from each input."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for logits_NV in inputs:
            draw(logits_NV)  # compiles, loads, allocates
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for logits_NV in inputs:
            draw(logits_NV)
    return graph.replay


def per_call(run: Callable[[], object], calls: int) -> float:
    """Return the median microseconds of one of `calls`, by the GPU's clock."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    microseconds = []
    for repeat in range(REPLAYS + 3):
        begin.record()
        run()
        end.record()
        end.synchronize()
        if repeat >= 3:
            microseconds.append(begin.elapsed_time(end) * 1e3 / calls)
    return statistics.median(microseconds)


def copy_bandwidth() -> float:
    """Return the GB/s of a device copy, bytes read and bytes written."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    microseconds = per_call(lambda: target.copy_(source), 1)
    return 2 * source.nbytes / microseconds / 1e3


if __name__ == "__main__":
    for case in measure():
        print(case)

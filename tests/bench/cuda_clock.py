"""Clocks of the GPU benchmarks: device events, inputs in rotation, a copy as the yardstick."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch

WARM_UP, ROUNDS = 3, 20


def microseconds(
    run: Callable[[int], object],
    rounds: int = ROUNDS,
    prepare: Callable[[], object] = lambda: None,
) -> float:
    """Return the median device time of `run(round)`, after `prepare()`, which is not timed."""
    for i in range(WARM_UP):
        prepare()
        run(i)
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(rounds)]
    torch.cuda.synchronize()
    for i, (start, end) in enumerate(events):
        prepare()
        start.record()
        run(i)
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) * 1000 for start, end in events)


def graph_microseconds(runs: Sequence[Callable[[], object]], rounds: int = ROUNDS) -> float:
    """Return the time of one of some short runs, played one after the other from a graph.

    A kernel of microseconds takes less than its own launch: a graph has no gaps.
    """
    for run in runs:
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for run in runs:
            run()
    return microseconds(lambda _: graph.replay(), rounds) / len(runs)


def copy_gigabytes_per_second(size: int = 2 << 30) -> float:
    """Return what a device-to-device copy of many megabytes moves, bytes read plus written."""
    source, target = (torch.empty(size, dtype=torch.uint8, device="cuda") for _ in range(2))
    return 2 * size / microseconds(lambda _: target.copy_(source)) / 1e3


def row(work: str, side: str, time_us: float, moved: int, copy: float) -> dict[str, object]:
    """Return one line of results.

    Args:
        work: what is done, with its shape.
        side: who does it.
        time_us: microseconds.
        moved: the fewest bytes that the work must move.
        copy: GB/s of a copy on this device.
    """
    rate = moved / time_us / 1e3
    return {
        "work": work,
        "side": side,
        "us": round(time_us, 1),
        "GB/s": round(rate),
        "share_of_copy": round(rate / copy, 3),
    }

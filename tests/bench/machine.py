"""What a figure depends on beside the code: who else uses the processor, and memory."""

from __future__ import annotations

import ctypes
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from r1core import _C


class Ticks(NamedTuple):
    """Clock ticks since boot, over all cores.

    Attributes:
        stolen: the host ran something else.
        busy: this machine ran something.
        own: of those, this process and its finished children.
    """

    stolen: int
    busy: int
    own: float

    @classmethod
    def now(cls) -> Ticks:
        """Read the counters."""
        values = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        user, nice, system, _, _, _, _, stolen = map(int, values)
        own = sum(os.times()[:4]) * os.sysconf("SC_CLK_TCK")
        return cls(stolen, user + nice + system, own)


def noise_percent(since: Ticks) -> dict[str, float]:
    """Return which share of the busy time went to the host and to other processes."""
    stolen, busy, own = (now - then for now, then in zip(Ticks.now(), since, strict=True))
    total = max(1, stolen + busy)
    shares = {"stolen": stolen, "others": max(0.0, busy - own)}
    return {name: round(100 * ticks / total, 1) for name, ticks in shares.items()}


def load_percent(seconds: float = 1.0) -> float:
    """Return how busy the machine is while this process sleeps."""
    before = Ticks.now()
    time.sleep(seconds)
    after = Ticks.now()
    ticks = os.sysconf("SC_CLK_TCK") * (os.cpu_count() or 1) * seconds
    return round(100 * (after.stolen + after.busy - before.stolen - before.busy) / ticks, 1)


def peak_growth(run: Callable[[], object]) -> int:
    """Return by how many bytes a call raises the resident set (Linux)."""
    before = start_of_peak()
    run()
    return resident("VmHWM") - before


def start_of_peak() -> int:
    """Return the resident set in bytes; `resident("VmHWM")` is its highest from now on.

    What the allocator keeps of earlier calls is given back first: it would hide the growth.
    """
    gc.collect()
    _C.release_buffers()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from here
    return resident("VmRSS")


def resident(key: str) -> int:
    """Return VmRSS (now) or VmHWM (the peak) in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

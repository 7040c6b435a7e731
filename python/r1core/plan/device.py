"""What a recipe is planned for: this machine, its GPU, a GPU by name, or so many bytes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

Kind = Literal["cpu", "cuda"]
GIB = 2**30

GPUS = {
    "A100-40GB": 39.4,
    "A100": 79.1,
    "L4": 22.0,
    "L40S": 44.4,
    "RTX4090": 23.5,
    "H100": 79.1,
    "H200": 139.7,
    "B200": 178.3,
}
"""GiB that CUDA reports as total; an A100 is the one of 80 GB."""

UNITS = {"gb": 10**9, "gib": GIB, "mb": 10**6, "mib": 2**20, "tb": 10**12}


@dataclass(frozen=True)
class Device:
    """Where a recipe is to run.

    Attributes:
        name: as a person calls it.
        kind: what computes; None leaves that to the recipe's `model.device`.
        memory: bytes.
    """

    name: str
    kind: Kind | None
    memory: int


def find_device(name: str) -> Device:
    """Return the device of a name: "cpu", "cuda", a GPU ("H100"), or a size ("80GB", "24GiB").

    Raises:
        ValueError: no such device here, or a name that says nothing.
    """
    if name == "cpu":
        return Device("this machine", "cpu", machine_memory())
    if gpu := re.fullmatch(r"cuda(?::(\d+))?", name):
        if not torch.cuda.is_available():
            raise ValueError(
                f"plan: --device {name} needs a GPU in this machine and torch sees none; name one "
                f"({', '.join(GPUS)}) or give its size (80GB)"
            )
        index, count = int(gpu[1] or torch.cuda.current_device()), torch.cuda.device_count()
        if index >= count:
            raise ValueError(f"plan: --device {name} must be below cuda:{count}, the GPUs here")
        properties = torch.cuda.get_device_properties(index)
        return Device(properties.name, "cuda", properties.total_memory)
    for known, gib in GPUS.items():
        if name.lower() == known.lower():
            return Device(known, "cuda", int(gib * GIB))
    if found := re.fullmatch(r"([\d.]+)\s*([a-z]+)", name.lower()):
        number, unit = found.groups()
        if unit in UNITS and number.count(".") <= 1 and float(number) > 0:
            return Device(name, None, int(float(number) * UNITS[unit]))
    raise ValueError(
        f"plan: --device must be cpu, cuda, one of {', '.join(GPUS)}, or a size such as 80GB; "
        f"got {name!r}"
    )


def machine_memory() -> int:
    """Return the bytes that a process here may use: the machine's, or less in a container."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limit = int(Path(path).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        total = min(total, limit)
    return total

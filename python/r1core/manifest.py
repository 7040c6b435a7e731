"""What a run ran on: versions, hardware, seed and data, enough to tell two runs apart."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import r1core
from r1core import _C

LIBRARIES = ("torch", "transformers", "datasets", "sentencepiece", "pydantic", "numpy")


def versions() -> dict[str, str]:
    """Return the version of each library that a run's numbers may depend on."""
    found = {"r1core": r1core.__version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware() -> dict[str, Any]:
    """Return the processor, the instruction set in use, threads, and the GPU if any."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": cpu_name(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "instruction_set": _C.isa(),
        "gpu": gpu,
    }


def cpu_name() -> str:
    """Return the processor's name as the system spells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def describe_run(*, seed: int, model: Mapping[str, Any], data: Mapping[str, str]) -> dict[str, Any]:
    """Return what `manifest.json` holds.

    Args:
        seed: the recipe's seed.
        model: the base, as `describe` puts it.
        data: stage name -> fingerprint of the prompts it trains on.
    """
    return {
        "seed": seed,
        "model": dict(model),
        "versions": versions(),
        "hardware": hardware(),
        "data": dict(data),
    }


def write_atomic(path: Path, text: str) -> None:
    """Write a text file whole or not at all: a killed run never leaves half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)

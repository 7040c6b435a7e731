"""All GPU benchmarks: prints a table and writes results/<gpu>.json. tests/gpu.sh runs it."""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from cuda_clock import copy_gigabytes_per_second

from r1core.manifest import hardware, versions

TOPICS = ("cuda_sampling", "cuda_loss", "cuda_layers")


def main() -> None:
    name = torch.cuda.get_device_name().replace(" ", "_")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results"
    lines: list[dict[str, Any]] = []
    for topic in TOPICS:
        start = time.perf_counter()
        try:
            found = importlib.import_module(topic).measure()
        except Exception:  # the other topics are still worth their time on a lent machine
            traceback.print_exc()
            continue
        for line in found:
            print("  ".join(f"{key} {value}" for key, value in line.items()), flush=True)
        print(f"-- {topic}: {time.perf_counter() - start:.0f} s", flush=True)
        lines += [{"topic": topic} | line for line in found]
        torch.cuda.empty_cache()
    results = {
        "machine": hardware(),
        "versions": versions(),
        "copy_GB/s": round(copy_gigabytes_per_second()),
        "lines": lines,
    }
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""The harness of the paired benchmarks: rounds of alternating order, medians, ratios.

A topic, `bench_<topic>.py`, does the same work with r1core and with its peers in one process, in
rounds of alternating order, so that noise falls on all sides alike. Its cases go to
`results/<cpu>_<instruction set>.json`; `table.py` makes the README's tables of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from machine import Ticks, load_percent, noise_percent, peak_growth

from r1core.manifest import hardware, versions, write_atomic

RESULTS = Path(__file__).parent / "results"
PEERS = {
    "trl": "trl",
    "peft": "peft",
    "llama_cpp": "llama-cpp-python",
    "math_verify": "math-verify",
}  # module -> distribution
IDLE_PERCENT = 5.0

Phases = dict[str, float]
Case = dict[str, Any]


@dataclass
class Side:
    """One way to do a case's work.

    Attributes:
        run: the timed work; a dict that it returns holds the seconds of its phases.
        prepare: called before each run, not timed.
    """

    run: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


@dataclass
class Samples:
    """What was measured of one side.

    Attributes:
        seconds: of each round.
        phases: seconds by phase, of each round; empty where the side has none.
        peak_growth: bytes by which a run raises the resident set; None if not measured.
    """

    seconds: list[float] = field(default_factory=list)
    phases: list[Phases] = field(default_factory=list)
    peak_growth: int | None = None

    def time(self, run: Callable[[], object]) -> None:
        """Time one round."""
        start = time.perf_counter()
        result = run()
        self.seconds.append(time.perf_counter() - start)
        if isinstance(result, dict):
            self.phases.append(result)

    def summary(self) -> dict[str, Any]:
        """Return median, minimum and maximum, the phases' medians, and memory."""
        summary: dict[str, Any] = {
            "median_ms": milliseconds(statistics.median(self.seconds)),
            "min_ms": milliseconds(min(self.seconds)),
            "max_ms": milliseconds(max(self.seconds)),
        }
        if self.phases:
            summary["phases_ms"] = {
                name: milliseconds(statistics.median(phases[name] for phases in self.phases))
                for name in self.phases[0]
            }
        if self.peak_growth is not None:
            summary["peak_growth_mb"] = round(self.peak_growth / 2**20, 1)
        return summary


def milliseconds(seconds: float) -> float:
    """Return milliseconds to four significant digits."""
    return float(f"{1e3 * seconds:.4g}")


def compare(
    name: str, sides: Mapping[str, Side], *, rounds: int, memory: bool = False, **facts: Any
) -> Case:
    """Time all sides in rounds of alternating order, after a round of warm-up.

    Args:
        name: the case, as the table shows it.
        sides: "r1core", then its peers.
        rounds: timed rounds.
        memory: then run each side once more, and see how far the resident set grows.
        facts: kept with the case, for instance `tokens=`, how many each side draws.
    """
    samples = {key: Samples() for key in sides}
    for side in sides.values():
        side.prepare()
        side.run()
    for turn in range(rounds):
        for key in sides if turn % 2 == 0 else reversed(sides):
            sides[key].prepare()
            samples[key].time(sides[key].run)
    for key in sides if memory else ():
        sides[key].prepare()
        samples[key].peak_growth = peak_growth(sides[key].run)
    return case(name, samples, **facts)


def case(name: str, samples: Mapping[str, Samples], **facts: Any) -> Case:
    """Summarise and print a case; a ratio is the peer's median over r1core's."""
    sides = {key: measured.summary() for key, measured in samples.items()}
    mine = sides["r1core"]["median_ms"]
    ratios = {key: round(s["median_ms"] / mine, 2) for key, s in sides.items() if key != "r1core"}
    print(f"{name}: " + ", ".join(f"{key} {s['median_ms']} ms" for key, s in sides.items()))
    print("  " + ", ".join(f"{ratio}x {key}" for key, ratio in ratios.items()), flush=True)
    rounds = len(samples["r1core"].seconds)
    return {"case": name, "rounds": rounds, **facts, "sides": sides, "ratios": ratios}


def run_topic(topic: str, cases: Callable[[int], Iterable[Case]]) -> None:
    """Run a topic's cases from the command line and keep them in the machine's results.

    Args:
        topic: its key in the results.
        cases: yields the cases; takes the number of rounds.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="results file (default: this machine's)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    load = load_percent()
    if load > IDLE_PERCENT:
        print(f"warning: the machine is {load} % busy before {topic} starts", file=sys.stderr)
    start = Ticks.now()
    found = list(cases(options.rounds))
    record = {"load_before_percent": load, "noise_percent": noise_percent(start)}
    record |= {"hardware": hardware(), "versions": versions() | peer_versions(), "cases": found}
    print(f"  noise: {record['noise_percent']} % of busy time", flush=True)
    keep(options.out or results_path(), topic, record)


def peer_versions() -> dict[str, str]:
    """Return the version of each peer that is installed."""
    return {name: metadata.version(name) for key, name in PEERS.items() if util.find_spec(key)}


def results_path() -> Path:
    """Return where this machine's results go."""
    machine = hardware()
    name = machine["cpu"].replace("(R)", "").replace("(TM)", "").replace(" ", "_")
    return RESULTS / f"{name}_{machine['instruction_set']}.json"


def keep(path: Path, topic: str, record: dict[str, Any]) -> None:
    """Replace one topic in a results file."""
    results = json.loads(path.read_text()) if path.exists() else {}
    results[topic] = record
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, json.dumps(results, indent=2) + "\n")

"""Isolated rewards: user functions in worker processes, each call under a hard deadline.

What hangs or crashes takes its own worker along and nothing else; its rows abstain. This guards
against accidents. It is no sandbox: a worker may do whatever its parent may.

    waiting calls -> a free worker: starting -> sending -> working -> scores
                                        |          |         |
                                  error, at once   timeout or crash: None, the worker is replaced
"""

from __future__ import annotations

import atexit
import functools
import os
import pickle
import random
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1core.rewards.round import Call, Round, Scores
from r1core.rewards.spec import RewardSpec, import_path, reward_error
from r1core.rewards.worker_process import WorkerProcess

MAX_WORKERS = 8


@dataclass
class Isolated:
    """What a function said of N completions, and how many of its calls were lost."""

    scores: Scores
    timeouts: int = 0
    crashes: int = 0


def run_isolated(spec: RewardSpec, arguments: Mapping[str, Sequence[Any]]) -> Isolated:
    """Call a function in its workers, which are started at the first call and kept.

    Args:
        spec: with isolate set.
        arguments: what it is passed, N values each.

    Raises:
        ValueError: arguments that cannot be pickled; a result that breaks the contract.
        RuntimeError: the function raised (ValueError if that is what it raised), or no worker can
            import it. Of several errors, that of the first row.
    """
    num_rows = len(arguments["completions"])
    step = 1 if spec.isolate == "row" else max(1, num_rows)
    seed = random.getrandbits(31)  # from the global generator, whose state a checkpoint keeps

    def request(first: int) -> bytes:
        rows = {name: values[first : first + step] for name, values in arguments.items()}
        header = {"first_row": first, "num_rows": min(step, num_rows - first), "seed": seed + first}
        return pickle.dumps(header | {"arguments": pickled(spec.name, rows)})

    calls = [
        Call(first, min(step, num_rows - first), functools.partial(request, first))
        for first in range(0, num_rows, step)
    ]
    pool = _pool(spec)
    with pool.lock:
        timeouts, crashes = pool.run(spec, calls)
    for call in calls:
        if call.error:
            raise call.error
    scores = [score for call in calls for score in call.scores or [None] * call.num_rows]
    return Isolated(scores, timeouts, crashes)


def close_workers() -> None:
    """End all workers of this process; the next call to an isolated function starts new ones.

    Runs and interpreters end theirs; a notebook may want the memory back. Workers die with their
    parent even if it is killed.
    """
    for key in [key for key in _POOLS if key[0] == os.getpid()]:
        _POOLS.pop(key).close()


class Pool:
    """The workers of one function.

    Args:
        module: where they import it from.
        name: its name there.
        options: the pickled arguments that a functools.partial has bound.
        size: at most so many workers.
    """

    def __init__(self, module: str, name: str, options: bytes, size: int) -> None:
        self.path, self.size, self.lock = f"{module}:{name}", size, threading.Lock()
        self._hello = {"module": module, "name": name, "options": options}
        self._workers: list[WorkerProcess] = []

    def run(self, spec: RewardSpec, calls: Sequence[Call]) -> tuple[int, int]:
        """Make all calls, in order, on as many workers as there are; return timeouts and crashes.

        After an error only the calls before it are finished.
        """
        work = Round(spec, self.path)
        waiting = list(reversed(calls))
        try:
            while True:
                while waiting and not work.failed and (worker := self._free(work)):
                    work.begin(worker, waiting.pop())
                if not work.unfinished():
                    return work.timeouts, work.crashes
                work.wait()
                while work.lost:
                    self._drop(work.lost.pop())
        finally:  # also on Ctrl-C: what is still at work has no one to report to
            for worker in {*work.lost, *work.running}:
                self._drop(worker)

    def close(self) -> None:
        """End the workers."""
        while self._workers:
            self._workers.pop().end()

    def _free(self, work: Round) -> WorkerProcess | None:
        for worker in [w for w in self._workers if w not in work.running]:
            if worker.how_it_ended() is None:
                return worker
            self._drop(worker)  # it ended between two calls
        if len(self._workers) == self.size:
            return None
        path = [entry or os.getcwd() for entry in sys.path]
        environment = dict(os.environ)
        if self.size > 1:  # one thread each: together they have the cores
            environment.setdefault("OMP_NUM_THREADS", "1")
        self._workers.append(WorkerProcess(pickle.dumps(self._hello | {"path": path}), environment))
        return self._workers[-1]

    def _drop(self, worker: WorkerProcess) -> None:
        self._workers.remove(worker)
        worker.end()


def pickled(name: str, values: Mapping[str, Any]) -> bytes:
    """Pickle arguments; an error names the one that cannot be."""
    try:
        return pickle.dumps(dict(values), pickle.HIGHEST_PROTOCOL)
    except Exception:
        for key, value in values.items():
            try:
                pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            except Exception as error:
                text = f"is isolated, so its argument {key!r} must be picklable: {error}"
                raise reward_error(name, text, ValueError) from error
        raise


_POOLS: dict[tuple[Any, ...], Pool] = {}
"""By process (a forked child must not use its parent's), function, bound arguments and size."""

atexit.register(close_workers)


def _pool(spec: RewardSpec) -> Pool:
    function = spec.function
    positional: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        positional = function.args + positional
        keywords = function.keywords | keywords
        function = function.func
    options = pickled(spec.name, {"positional": positional, "keywords": keywords})
    cores = len(os.sched_getaffinity(0))
    size = (spec.workers or min(cores, MAX_WORKERS)) if spec.isolate == "row" else 1
    module, name = import_path(function)
    key = (os.getpid(), module, name, options, spec.isolate, size)
    return _POOLS.setdefault(key, Pool(module, name, options, size))

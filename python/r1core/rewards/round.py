"""The calls of one step under way in a pool's workers: their states, replies and deadlines."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from r1core.rewards.spec import RewardSpec, reward_error
from r1core.rewards.worker_process import START_SECONDS, WorkerLost, WorkerProcess

TIMEOUT_SECONDS = 10.0
"""Deadline of a call where the spec sets none."""
LONGEST_WAIT_SECONDS = 60.0  # of one poll, whose milliseconds are a C int

Scores = list[float | None]


class RemoteTraceback(Exception):
    """The traceback of an error in a worker, shown as the cause of the error here."""


@dataclass
class Call:
    """One call: some of the rows, and in the end its scores or its error."""

    first_row: int
    num_rows: int
    request: Callable[[], bytes]
    scores: Scores | None = None
    error: Exception | None = None


class Round:
    """Calls under way: which worker has which, and what has come of them.

    Attributes:
        running: the workers at work, and their calls.
        lost: workers that crashed or are over their deadline, for the pool to end.
        failed: of the calls with an error, the one on the first row.
        timeouts: calls stopped at their deadline.
        crashes: calls whose worker ended.
    """

    def __init__(self, spec: RewardSpec, path: str) -> None:
        self.name, self.path = spec.name, path
        self.timeout_seconds = spec.timeout_seconds or TIMEOUT_SECONDS
        self.running: dict[WorkerProcess, Call] = {}
        self.lost: list[WorkerProcess] = []
        self.failed: Call | None = None
        self.timeouts = self.crashes = 0

    def begin(self, worker: WorkerProcess, call: Call) -> None:
        """Give a worker its next call."""
        request = call.request()
        self.running[worker] = call
        worker.call(request, call.num_rows)

    def unfinished(self) -> list[Call]:
        """Return the calls to wait for: after an error, those on rows before it."""
        last = self.failed.first_row if self.failed else math.inf
        return [call for call in self.running.values() if call.first_row < last]

    def wait(self) -> None:
        """Wait for a reply or a deadline and act on it."""
        for worker in self._ready():
            try:
                for reply in worker.exchange():
                    self._take(worker, reply)
            except WorkerLost as error:
                self._lose(worker, f"ended ({error})")
        now = time.monotonic()
        for worker in [w for w in self.running if w.deadline <= now]:
            self._lose(worker, None)

    def _ready(self) -> list[WorkerProcess]:
        poll = select.poll()
        for worker in self.running:
            poll.register(worker, select.POLLIN | (select.POLLOUT if worker.writing else 0))
        deadline = min(worker.deadline for worker in self.running)
        seconds = min(max(0.0, deadline - time.monotonic()), LONGEST_WAIT_SECONDS)
        ready = {descriptor for descriptor, _ in poll.poll(math.ceil(1000 * seconds))}
        return [worker for worker in self.running if worker.fileno() in ready]

    def _take(self, worker: WorkerProcess, reply: Any) -> None:
        """Follow a worker's state by its reply; what does not fit the state is no reply of ours."""
        call = self.running.get(worker)
        if call is None:
            raise WorkerLost("a reply to no call")
        match worker.state, reply:
            case "starting", {"ready": True}:
                worker.expect("sending", START_SECONDS)
            case "starting", {"unusable": {**error}}:
                text = (
                    f"cannot be imported from {self.path!r} by a worker process: {in_words(error)}"
                )
                raise self._error(text, error, RuntimeError)
            case "sending", {"started": True}:
                worker.expect("working", self.timeout_seconds)
            case "sending", {"unreadable": {**error}}:
                text = f"has arguments that a worker process cannot unpickle: {in_words(error)}"
                self._finish(worker, error=self._error(text, error, ValueError))
            case "working", {"raised": {**error}}:
                kind = ValueError if error.get("is_value_error") else RuntimeError
                self._finish(worker, error=self._error(f"raised {in_words(error)}", error, kind))
            case "working", {"broken": rule}:
                self._finish(worker, error=reward_error(self.name, str(rule), ValueError))
            case "working", {"scores": scores} if is_scores(scores, call.num_rows):
                self._finish(worker, scores=scores)
            case _:
                raise WorkerLost("a reply out of order")

    def _finish(
        self, worker: WorkerProcess, scores: Scores | None = None, error: Exception | None = None
    ) -> None:
        worker.expect("idle")
        call = self.running.pop(worker)
        call.scores, call.error = scores, error
        if error and (self.failed is None or call.first_row < self.failed.first_row):
            self.failed = call

    def _lose(self, worker: WorkerProcess, how: str | None) -> None:
        """Count a call whose worker ended or, without `how`, is over its deadline."""
        self.lost.append(worker)
        call = self.running.pop(worker, None)
        if worker.state == "starting":
            how = how or f"was not done after {START_SECONDS:.0f} s"
            text = f"cannot be isolated: its worker process {how} while importing {self.path!r}"
            raise reward_error(self.name, text, RuntimeError)
        if call:
            self.timeouts += how is None
            self.crashes += how is not None

    def _error(self, text: str, remote: Any, kind: type[Exception]) -> Exception:
        error = reward_error(self.name, text, kind)
        error.__cause__ = RemoteTraceback("\n" + str(remote.get("traceback")))
        return error


def in_words(error: Mapping[Any, Any]) -> str:
    """Return a remote error in words: its type and its message."""
    return f"{error.get('type')}: {error.get('message')}"


def is_scores(scores: Any, num_rows: int) -> bool:
    """Tell whether a reply holds one finite number or null for each row."""
    return (
        isinstance(scores, list)
        and len(scores) == num_rows
        and all(s is None or (type(s) is float and math.isfinite(s)) for s in scores)
    )

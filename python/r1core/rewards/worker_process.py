"""One worker process as its parent sees it: starting, talking without waiting, ending."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from r1core.rewards.worker import LENGTH

SCRIPT = Path(__file__).with_name("worker.py")
START_SECONDS = 120.0
"""Limit of starting a worker and importing the function's module, and of reading arguments."""

LARGEST_REPLY = 1 << 20
"""Bytes of a reply, beside SCORE_BYTES for each score: more is no reply of ours."""
SCORE_BYTES = 32


class WorkerLost(Exception):
    """The process ended, or does not keep to the protocol; the message says how."""


class WorkerProcess:
    """A process that answers one call at a time.

    Attributes:
        state: "starting" until the function is imported, then "idle"; "sending" until a call's
            arguments are read, then "working".
        deadline: when the state must have changed, on `time.monotonic`.
    """

    def __init__(self, hello: bytes, environment: Mapping[str, str]) -> None:
        """Start a process and have it import its function.

        Args:
            hello: what `worker.main` reads first.
            environment: its variables.
        """
        self._channel, theirs = socket.socketpair()
        ended, self._lifeline = os.pipe()
        command = [sys.executable, "-P", "-u", str(SCRIPT), str(theirs.fileno()), str(ended)]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), ended),
                start_new_session=True,  # one group to kill; and Ctrl-C does not reach it
                env=dict(environment),
            )
        except OSError:
            self._channel.close()
            os.close(self._lifeline)
            raise
        finally:
            theirs.close()
            os.close(ended)
        self._channel.setblocking(False)
        self._incoming, self._outgoing = bytearray(), bytearray()
        self._largest_reply = LARGEST_REPLY
        self.state: Literal["starting", "idle", "sending", "working"] = "starting"
        self.deadline = time.monotonic() + START_SECONDS
        self._put(hello)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._channel.fileno()

    @property
    def writing(self) -> bool:
        """Whether there is something left to write."""
        return bool(self._outgoing)

    def call(self, request: bytes, num_rows: int) -> None:
        """Send a call; one that is still starting reads it when it has started."""
        self._largest_reply = LARGEST_REPLY + SCORE_BYTES * num_rows
        if self.state == "idle":
            self.expect("sending", START_SECONDS)
        self._put(request)

    def expect(
        self, state: Literal["idle", "sending", "working"], seconds: float = math.inf
    ) -> None:
        """Note what it is at, and for how long it may be."""
        self.state, self.deadline = state, time.monotonic() + seconds

    def exchange(self) -> Iterator[Any]:
        """Write and read what can be without waiting; yield the replies that are whole.

        Raises:
            WorkerLost: it ended, or what it sent is not a reply.
        """
        with suppress(OSError):  # one that has ended may have said why: read first
            self._write()
        try:
            part = self._channel.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            raise WorkerLost(self.how_it_ended(1.0) or "it closed its channel")
        self._incoming += part
        while (reply := self._next_frame()) is not None:
            try:
                yield json.loads(reply)
            except (ValueError, RecursionError) as error:
                raise WorkerLost(f"a reply that is no JSON: {error}") from error

    def how_it_ended(self, wait_seconds: float = 0.0) -> str | None:
        """Return a dead process's exit status or signal; None while it lives.

        Without reaping it: until then its number is the group's, and `end` may kill by it.
        """
        limit = time.monotonic() + wait_seconds
        while True:
            try:
                flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
                status = os.waitid(os.P_PID, self.process.pid, flags)
            except ChildProcessError:  # the program reaps its children by itself
                return "unknown status"
            if status is not None:
                killed = status.si_code != os.CLD_EXITED
                code = status.si_status
                return f"signal {signal.Signals(code).name}" if killed else f"exit status {code}"
            if time.monotonic() >= limit:
                return None
            time.sleep(0.002)

    def end(self) -> None:
        """Kill the process and those it has started, and wait for it."""
        if self._lifeline < 0:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._channel.close()
        os.close(self._lifeline)
        self._lifeline = -1

    def _put(self, payload: bytes) -> None:
        self._outgoing += LENGTH.pack(len(payload)) + payload
        with suppress(OSError):  # `exchange` will find out
            self._write()

    def _write(self) -> None:
        while self._outgoing:
            del self._outgoing[: self._channel.send(self._outgoing)]

    def _next_frame(self) -> bytes | None:
        if len(self._incoming) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack_from(self._incoming)
        if length > self._largest_reply:
            raise WorkerLost(f"a reply of {length} bytes")
        end = LENGTH.size + length
        if len(self._incoming) < end:
            return None
        frame = bytes(self._incoming[LENGTH.size : end])
        del self._incoming[:end]
        return frame

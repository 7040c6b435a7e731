"""Ctrl-C that waits for the step to end, so that a run stops where it can go on."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and what a cluster sends before it kills


class Interrupt:
    """Turns the first SIGINT or SIGTERM into a request, which `check` answers; a context manager.

    The second stops at once. A signal that the process ignores stays ignored, and outside the main
    thread, which alone may handle signals, nothing changes.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Stop if it was asked for: call it where everything is saved or can be.

        Raises:
            KeyboardInterrupt: after SIGINT.
            SystemExit: after SIGTERM, with the status that the shell gives it.
        """
        if self._asked is not None:
            stop(self._asked)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            stop(number)
        self._asked = number
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nStopping after this step; once more to stop at once.\n")


def stop(number: int) -> None:
    """Raise what a program that was sent this signal ends with."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)

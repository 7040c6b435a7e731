"""The warning about a reward that runs in this process and takes longer than it should."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from r1core.rewards.spec import RewardSpec

_warned: set[str] = set()


@contextmanager
def soft_deadline(spec: RewardSpec) -> Iterator[None]:
    """Warn, once a run, when the block takes longer than the spec's timeout_seconds.

    The warning comes while the function still runs: a run that hangs says where. Only C code that
    holds the interpreter delays it. Nothing is stopped.
    """
    if spec.timeout_seconds is None or spec.name in _warned:
        yield
        return
    timer = threading.Timer(spec.timeout_seconds, _warn, [spec])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def forget_warnings() -> None:
    """Have every function warned about anew: another run begins."""
    _warned.clear()


def _warn(spec: RewardSpec) -> None:
    _warned.add(spec.name)
    function = spec.function
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    text = (
        f"reward {spec.name!r} has been running for {spec.timeout_seconds:g} s, its "
        "timeout_seconds, and goes on: in this process it cannot be stopped. isolate = 'row' or "
        "'batch' would stop it"
    )
    where = (code.co_filename, code.co_firstlineno) if code else (__file__, 1)
    warnings.warn_explicit(text, UserWarning, *where)  # without a registry: shown in every run

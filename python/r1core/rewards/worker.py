"""The worker process of isolated rewards: a script of the standard library alone.

It runs by its path, so that it starts in some 50 ms: importing r1core would import torch. Requests
come as pickles from the parent, which is trusted; replies go as JSON, since a function that a
completion has taken over must not reach the parent. Frames are 8 bytes of length and the payload.
"""

from __future__ import annotations

import json
import math
import numbers
import os
import pickle
import random
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

LENGTH = struct.Struct(">Q")
MAX_TEXT = 20_000
"""Characters of an error that are passed on; a traceback may quote a whole completion."""


def checked_scores(result: Any, num_rows: int, first_row: int = 0) -> list[float | None]:
    """Return a function's result as plain numbers, None for NaN.

    Args:
        result: what it returned: a list, an array, a tensor.
        num_rows: how many scores it must hold.
        first_row: the number of the first, for the message.

    Raises:
        ValueError: it is anything but that many finite numbers or None. The message is to be put
            behind the function's name.
    """
    if hasattr(result, "tolist"):  # a tensor or an array
        result = result.tolist()
    if isinstance(result, (str, bytes)) or not isinstance(result, Sequence):
        got = type(result).__name__ if result is not None else "None: is a return missing?"
        raise ValueError(
            f"must return a list of {num_rows} numbers, each of which may be None; got {got}"
        )
    if len(result) != num_rows:
        raise ValueError(f"must return one score per completion, {num_rows}; got {len(result)}")
    return [_one_score(score, first_row + n) for n, score in enumerate(result)]


def _one_score(score: Any, row: int) -> float | None:
    if score is None:
        return None
    if hasattr(score, "item"):  # a tensor of one element
        score = score.item()
    try:
        value = float(score) if isinstance(score, numbers.Real) else math.inf
    except OverflowError:  # an int or a fraction beyond floats
        value = math.inf
    if math.isinf(value):
        raise ValueError(f"must return finite numbers or None; got {score!r} at row {row}")
    return None if math.isnan(value) else value


def main(channel: int, lifeline: int) -> None:
    """Import the function that the first frame names, then answer calls until the parent ends.

    Args:
        channel: socket to the parent.
        lifeline: pipe that the parent never writes to, and that closes when it dies.
    """
    for descriptor in (channel, lifeline):
        os.set_inheritable(descriptor, False)  # what the function starts must not keep them open
    die_with(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    hello: dict[str, Any] = pickle.loads(read_frame(channel))
    sys.path[:] = hello["path"]
    try:
        function = find(hello["module"], hello["name"])
        options = pickle.loads(hello["options"])
    except Exception as error:
        write_frame(channel, {"unusable": describe(error)})
        return
    write_frame(channel, {"ready": True})
    while request := read_frame(channel):
        write_frame(channel, answer(channel, function, options, request))


def die_with(lifeline: int) -> None:
    """Have the kernel kill this process when the pipe's other end closes.

    Unlike a thread that waits for that, this works while C code holds the interpreter; unlike
    PR_SET_PDEATHSIG, it does not fire when the thread that started the worker ends.
    """
    import fcntl

    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def find(module: str, name: str) -> Callable[..., Any]:
    """Import a function by its module and its name there."""
    import importlib

    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def answer(
    channel: int,
    function: Callable[..., Any],
    options: dict[str, Any],
    request: bytes,
) -> dict[str, Any]:
    """Make one call; return its scores, or what went wrong."""
    try:
        call = pickle.loads(request)
        arguments = pickle.loads(call["arguments"])
    except Exception as error:
        return {"unreadable": describe(error)}
    seed_generators(call["seed"])
    write_frame(channel, {"started": True})  # the deadline counts from here
    try:
        keywords = options["keywords"] | arguments
        result = finish(function(*options["positional"], **keywords))
    except MemoryError:
        os._exit(1)  # a crash, as if the kernel had been first: nothing here can be relied on
    except Exception as error:
        return {"raised": describe(error)}
    try:
        return {"scores": checked_scores(result, call["num_rows"], call["first_row"])}
    except ValueError as error:
        return {"broken": str(error)[:MAX_TEXT]}
    except Exception as error:  # of an object that only looks like a list
        return {"raised": describe(error)}


def finish(result: Any) -> Any:
    """Return a result, awaited where it is to be; one loop serves all calls."""
    if not hasattr(result, "__await__"):
        return result
    import asyncio

    async def waited() -> Any:
        return await result

    global _loop
    _loop = _loop or asyncio.new_event_loop()
    return _loop.run_until_complete(waited())


_loop: Any = None


def seed_generators(seed: int) -> None:
    """Seed what the function may draw from, so that it matters not which worker a row goes to."""
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed is slow before CUDA is up
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)


def describe(error: Exception) -> dict[str, Any]:
    """Return what the parent needs to raise in this error's stead."""
    import traceback

    return {
        "type": type(error).__name__,
        "message": str(error)[:MAX_TEXT],
        "is_value_error": isinstance(error, ValueError),
        "traceback": "".join(traceback.format_exception(error))[-MAX_TEXT:],
    }


def read_frame(channel: int) -> bytes:
    """Return the next frame; empty when the parent has closed."""
    header = _read(channel, LENGTH.size)
    return _read(channel, LENGTH.unpack(header)[0]) if header else b""


def _read(channel: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = os.read(channel, min(count, 1 << 20))
        if not part:
            return b""
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def write_frame(channel: int, reply: dict[str, Any]) -> None:
    """Send a reply as JSON."""
    payload = json.dumps(reply).encode("ascii")
    left = memoryview(LENGTH.pack(len(payload)) + payload)
    while left:
        left = left[os.write(channel, left) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

"""Calling user code: which arguments it takes, sync or async, how long, and whose error it was."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from r1core.rewards.isolate import run_isolated
from r1core.rewards.soft_deadline import soft_deadline
from r1core.rewards.spec import BUILT_IN, RewardFunction, RewardSpec, reward_error

PARENT_ONLY = ("trainer_state", "log_extra", "log_metric")
"""Arguments that stay in this process: isolated functions get plain data."""

FAILURES = (Exception, SystemExit)
"""What is a function's own error: one that calls sys.exit must not end the run without a word."""


@dataclass
class Calls:
    """What the functions said.

    Attributes:
        results: what each returned, in the order of the specs.
        seconds: wall-clock seconds by name.
        timeouts: calls stopped at their deadline, by name; isolated functions only.
        crashes: calls that ended their worker, by name; isolated functions only.
    """

    results: list[Any] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    timeouts: dict[str, int] = field(default_factory=dict)
    crashes: dict[str, int] = field(default_factory=dict)


def call_all(specs: Sequence[RewardSpec], arguments: Mapping[str, Any]) -> Calls:
    """Call every function with the arguments it takes; those that return awaitables run together.

    Raises:
        ValueError: a function needs an argument that is not among these.
        RuntimeError: a function raised (ValueError if that is what it raised); see `__cause__`.
    """
    taken = [accepted_arguments(spec, arguments) for spec in specs]
    calls = Calls()
    try:
        for spec, mine in zip(specs, taken, strict=True):
            started = time.perf_counter()
            calls.results.append(
                _call_isolated(spec, mine, calls) if spec.isolate else _call(spec, mine)
            )
            calls.seconds[spec.name] = time.perf_counter() - started
    except BaseException:
        for result in calls.results:
            if inspect.iscoroutine(result):
                result.close()  # it will never be awaited
        raise
    waiting = [index for index, result in enumerate(calls.results) if inspect.isawaitable(result)]
    if waiting:
        finished = _run(_gather([(specs[i], calls.results[i]) for i in waiting]))
        for index, (result, elapsed) in zip(waiting, finished, strict=True):
            calls.results[index] = result
            calls.seconds[specs[index].name] += elapsed
    return calls


def _call(spec: RewardSpec, arguments: Mapping[str, Any]) -> Any:
    try:
        with soft_deadline(spec):
            return spec.function(**arguments)
    except FAILURES as error:
        raise _named(spec, error) from error


def _call_isolated(spec: RewardSpec, arguments: Mapping[str, Any], calls: Calls) -> Any:
    isolated = run_isolated(spec, arguments)
    calls.timeouts[spec.name] = isolated.timeouts
    calls.crashes[spec.name] = isolated.crashes
    return isolated.scores


def accepted_arguments(spec: RewardSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the arguments that a function's signature takes; all if it has **kwargs."""
    if spec.isolate:
        arguments = {name: v for name, v in arguments.items() if name not in PARENT_ONLY}
    try:
        parameters = inspect.signature(spec.function).parameters
    except (TypeError, ValueError):  # some callables written in C have none
        return dict(arguments)
    kinds = inspect.Parameter
    named = {
        name: parameter
        for name, parameter in parameters.items()
        if parameter.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    }
    missing = [name for name, p in named.items() if p.default is p.empty and name not in arguments]
    if missing and missing[0] in PARENT_ONLY:
        text = f"needs {missing[0]!r}, which no isolated function gets: leave out isolate"
        raise reward_error(spec.name, text, ValueError)
    if missing:
        text = f"needs {missing[0]!r}, which must be a column of the data or one of `options`; got "
        raise reward_error(spec.name, text + ", ".join(arguments), ValueError)
    anything = any(parameter.kind is kinds.VAR_KEYWORD for parameter in parameters.values())
    bound = bound_keywords(spec.function)
    return {
        name: value
        for name, value in arguments.items()
        if (anything or name in named) and name not in bound
    }


def bound_keywords(function: RewardFunction) -> set[str]:
    """Return the keywords that a column of the same name must not set.

    They are what a functools.partial has fixed, and the options of r1core's own functions: data may
    have a column "style" that has nothing to do with `format_reward`.
    """
    bound: set[str] = set()
    while isinstance(function, functools.partial):
        bound |= set(function.keywords)
        function = function.func
    if function in BUILT_IN.values():
        parameters = inspect.signature(function).parameters.values()
        bound |= {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    return bound


async def _gather(calls: Sequence[tuple[RewardSpec, Awaitable[Any]]]) -> list[tuple[Any, float]]:
    async def timed(spec: RewardSpec, awaitable: Awaitable[Any]) -> tuple[Any, float]:
        started = time.perf_counter()
        try:
            with soft_deadline(spec):
                result = await awaitable
        except FAILURES as error:
            raise _named(spec, error) from error
        return result, time.perf_counter() - started

    tasks = [asyncio.ensure_future(timed(spec, awaitable)) for spec, awaitable in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:  # after a failure the others are of no use
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _run(coroutine: Any) -> Any:
    """Run a coroutine to its end on the reward loop; an interrupt here cancels it there."""
    future = asyncio.run_coroutine_threadsafe(coroutine, _reward_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


@functools.cache
def _reward_loop() -> asyncio.AbstractEventLoop:
    """Return the loop of a daemon thread, the same at every step.

    One loop for all steps lets a reward keep its HTTP client, and one of its own works inside a
    running loop such as Jupyter's.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="r1core-rewards", daemon=True).start()
    return loop


def _named(spec: RewardSpec, error: BaseException) -> Exception:
    """Return the error to raise in a function's stead: a ValueError stays one, the caller's."""
    kind = ValueError if isinstance(error, ValueError) else RuntimeError
    return reward_error(spec.name, f"raised {type(error).__name__}: {error}", kind)

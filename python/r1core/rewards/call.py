"""Calling user code: which arguments it takes, sync or async, how long, and whose error it was."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from r1core.rewards.spec import BUILT_IN, RewardFunction, RewardSpec


def call_all(
    specs: Sequence[RewardSpec], arguments: Mapping[str, Any]
) -> tuple[list[Any], dict[str, float]]:
    """Call every function with the arguments it takes; those that return awaitables run together.

    Returns:
        The results in the order of the specs, and wall-clock seconds by name.

    Raises:
        ValueError: a function needs an argument that is not among these.
        RuntimeError: a function raised (ValueError if that is what it raised); see `__cause__`.
    """
    taken = [accepted_arguments(spec, arguments) for spec in specs]
    results: list[Any] = []
    seconds: dict[str, float] = {}
    try:
        for spec, mine in zip(specs, taken, strict=True):
            started = time.perf_counter()
            try:
                results.append(spec.function(**mine))
            except Exception as error:
                raise _named(spec, error) from error
            seconds[spec.name] = time.perf_counter() - started
    except BaseException:
        for result in results:
            if inspect.iscoroutine(result):
                result.close()  # it will never be awaited
        raise
    waiting = [index for index, result in enumerate(results) if inspect.isawaitable(result)]
    if waiting:
        finished = _run(_gather([(specs[i], results[i]) for i in waiting]))
        for index, (result, elapsed) in zip(waiting, finished, strict=True):
            results[index] = result
            seconds[specs[index].name] += elapsed
    return results, seconds


def accepted_arguments(spec: RewardSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the arguments that a function's signature takes; all if it has **kwargs."""
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
    if missing:
        raise ValueError(
            f"score_rollouts: reward {spec.name!r} needs {missing[0]!r}, which must be a column of "
            f"the data; got {', '.join(arguments)}"
        )
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
            result = await awaitable
        except Exception as error:
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


def _named(spec: RewardSpec, error: Exception) -> Exception:
    """Return the error to raise in a function's stead: a ValueError stays one, the caller's."""
    kind = ValueError if isinstance(error, ValueError) else RuntimeError
    return kind(f"score_rollouts: reward {spec.name!r} raised {type(error).__name__}: {error}")

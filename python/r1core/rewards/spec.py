"""Naming a reward function: built-in name, dotted path or the function itself."""

from __future__ import annotations

import difflib
import functools
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from r1core.rewards.choice import choice_reward
from r1core.rewards.functions import accuracy_reward, format_reward, tag_count_reward
from r1core.rewards.json_format import json_format_reward
from r1core.rewards.language import language_consistency_reward
from r1core.rewards.length import cosine_length_reward, soft_overlong_punishment_reward
from r1core.rewards.options import bind_options
from r1core.rewards.repetition import repetition_penalty_reward

RewardFunction = Callable[..., Any]
Isolation = Literal["batch", "row"]

BUILT_IN: dict[str, RewardFunction] = {
    "accuracy": accuracy_reward,
    "choice": choice_reward,
    "format": format_reward,
    "tag_count": tag_count_reward,
    "language_consistency": language_consistency_reward,
    "repetition_penalty": repetition_penalty_reward,
    "soft_overlong_punishment": soft_overlong_punishment_reward,
    "cosine_length": cosine_length_reward,
    "json_format": json_format_reward,
}


@dataclass(frozen=True)
class RewardSpec:
    """A reward function, the name it is reported under, and its weight in the sum.

    Attributes:
        function: TRL's call shape, sync or async: f(prompts=, completions=, **columns).
        name: as in `rewards/<name>/mean`.
        weight: finite; 0 reports the function without learning from it.
        isolate: where it runs. None: in this process, on the whole batch. "batch": in a worker
            process, on the whole batch. "row": in a pool of worker processes, on one completion a
            call, in lists of length 1. A call that hangs or crashes takes only its worker along.
            The function must be importable by the workers; r1core's own are never isolated.
        timeout_seconds: of one call, > 0. With isolate the call is killed then, and its rows
            abstain; None is 10 s. Waiting for a worker and importing the function's module (120 s
            at most) do not count; what the function imports itself does. Without isolate there is
            but a warning; None is none.
        workers: size of the pool of isolate = "row", >= 1; None is one per core, at most 8.
        from_step: first update of a training stage that it counts in; >= 1.
    """

    function: RewardFunction
    name: str
    weight: float = 1.0
    isolate: Isolation | None = None
    timeout_seconds: float | None = None
    workers: int | None = None
    from_step: int = 1

    def on(self, function: RewardFunction) -> RewardSpec:
        """Return the same spec of another function."""
        return replace(self, function=function)

    def __post_init__(self) -> None:
        """Reject what could not be called or summed.

        Raises:
            ValueError: see the attributes.
        """
        if not callable(self.function):
            raise ValueError(f"RewardSpec: function must be callable; got {self.function!r}")
        if not math.isfinite(self.weight):
            raise ValueError(f"RewardSpec: weight must be finite; got {self.weight}")
        if self.isolate not in (None, "batch", "row"):
            raise ValueError(f"RewardSpec: isolate must be 'batch' or 'row'; got {self.isolate!r}")
        seconds = self.timeout_seconds
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(f"RewardSpec: timeout_seconds must be > 0; got {seconds}")
        if self.workers is not None and (self.isolate != "row" or self.workers < 1):
            raise ValueError(
                "RewardSpec: workers must be >= 1, and goes with isolate = 'row'; "
                f"got {self.workers} with isolate = {self.isolate!r}"
            )
        if self.isolate:
            import_path(self.function)

    @classmethod
    def resolve(
        cls,
        reward: str | RewardFunction | RewardSpec,
        weight: float = 1.0,
        *,
        isolate: Isolation | None = None,
        timeout_seconds: float | None = None,
        workers: int | None = None,
        from_step: int = 1,
        **options: Any,
    ) -> RewardSpec:
        """Return the spec of a reward given in any of its forms.

        Args:
            reward: "accuracy" (also "accuracy_reward"), "package.module:function", or a callable:
                function, closure, functools.partial, object with `__call__`. A spec stays as it is.
            weight: factor in the sum.
            isolate: see the attributes.
            timeout_seconds: see the attributes.
            workers: see the attributes.
            from_step: see the attributes.
            options: bound to the function's keywords, for example `style="think_summary"`.

        Raises:
            ValueError: no such name, module or function; an option that the function does not take
                (one of yours with **kwargs takes all); or it cannot be isolated.
        """
        if isinstance(reward, RewardSpec):
            return reward
        name, function = _find(reward) if isinstance(reward, str) else (name_of(reward), reward)
        if options:
            own = innermost(function) in BUILT_IN.values()
            function = bind_options(name, function, options, built_in=own)
        return cls(function, name, weight, isolate, timeout_seconds, workers, from_step)


def name_of(function: RewardFunction) -> str:
    """Return what to call a callable: its own name, its partial's, or its class's."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    return str(getattr(function, "__name__", None) or type(function).__name__)


def innermost(function: RewardFunction) -> RewardFunction:
    """Return the function inside of partials."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def import_path(function: RewardFunction) -> tuple[str, str]:
    """Return the module and the name there by which another process finds a function.

    Raises:
        ValueError: it would not find it, or the function is r1core's own.
    """
    function = innermost(function)
    if function in BUILT_IN.values():
        raise ValueError(
            "RewardSpec: isolate must be left out for r1core's own rewards, which cannot hang; "
            f"got {name_of(function)!r}"
        )
    module = getattr(function, "__module__", None) or ""
    path = getattr(function, "__qualname__", None) or type(function).__qualname__
    try:
        found: Any = importlib.import_module(module) if module not in ("", "__main__") else None
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        found = None
    if found != function:
        raise ValueError(
            "RewardSpec: isolate needs a function at the top of a module that a worker process can "
            "import, not a lambda, a closure, an object, or one of __main__ or a notebook; got "
            f"'{module}:{path}'. Move it to a .py file, or leave out isolate"
        )
    return module, path


def reward_error(name: str, text: str, kind: type[Exception]) -> Exception:
    """Return the error that a function's failure is reported as."""
    return kind(f"score_rollouts: reward {name!r} {text}")


def _find(name: str) -> tuple[str, RewardFunction]:
    short = name.removesuffix("_reward")
    if short in BUILT_IN:
        return short, BUILT_IN[short]
    module_name, colon, attribute = name.partition(":")
    if colon:
        return attribute.rpartition(".")[2], _import(name, module_name, attribute)
    nearest = difflib.get_close_matches(name, BUILT_IN, n=1, cutoff=0.0)[0]
    raise ValueError(
        f"RewardSpec: name must be one of {', '.join(BUILT_IN)} or 'package.module:function'; "
        f"got {name!r} (nearest: {nearest!r})"
    )


def _import(name: str, module_name: str, attribute: str) -> RewardFunction:
    try:
        found: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"RewardSpec: cannot import {name!r}: {error}") from error
    if not callable(found):
        raise ValueError(f"RewardSpec: {name!r} must be callable; got {type(found).__name__}")
    return found  # type: ignore[no-any-return]

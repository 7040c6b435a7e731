"""Naming a reward function: built-in name, dotted path or the function itself."""

from __future__ import annotations

import difflib
import functools
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from r1core.rewards.functions import accuracy_reward, format_reward, tag_count_reward

RewardFunction = Callable[..., Any]

BUILT_IN: dict[str, RewardFunction] = {
    "accuracy": accuracy_reward,
    "format": format_reward,
    "tag_count": tag_count_reward,
}


@dataclass(frozen=True)
class RewardSpec:
    """A reward function, the name it is reported under, and its weight in the sum.

    Attributes:
        function: TRL's call shape, sync or async: f(prompts=, completions=, **columns).
        name: as in `rewards/<name>/mean`.
        weight: finite; 0 reports the function without learning from it.
    """

    function: RewardFunction
    name: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Reject what could not be called or summed.

        Raises:
            ValueError: see the attributes.
        """
        if not callable(self.function):
            raise ValueError(f"RewardSpec: function must be callable; got {self.function!r}")
        if not math.isfinite(self.weight):
            raise ValueError(f"RewardSpec: weight must be finite; got {self.weight}")

    @classmethod
    def resolve(
        cls, reward: str | RewardFunction | RewardSpec, weight: float = 1.0, **options: Any
    ) -> RewardSpec:
        """Return the spec of a reward given in any of its forms.

        Args:
            reward: "accuracy" (also "accuracy_reward"), "package.module:function", or a callable:
                function, closure, functools.partial, object with `__call__`. A spec stays as it is.
            weight: factor in the sum.
            options: bound to the function's keywords, for example `style="think_summary"`.

        Raises:
            ValueError: no such name, module or function.
        """
        if isinstance(reward, RewardSpec):
            return reward
        name, function = _find(reward) if isinstance(reward, str) else (name_of(reward), reward)
        if options:
            function = functools.partial(function, **options)
        return cls(function, name, weight)


def name_of(function: RewardFunction) -> str:
    """Return what to call a callable: its own name, its partial's, or its class's."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    return str(getattr(function, "__name__", None) or type(function).__name__)


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

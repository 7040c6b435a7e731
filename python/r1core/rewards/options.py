"""A reward's options: checked against what its function takes, and bound to it."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any

from r1core.rewards.math_policy import MathPolicy

PASSED = ("prompts", "completions", "completion_ids")
"""Arguments that every call brings: no options."""


def bind_options(
    name: str, function: Callable[..., Any], options: Mapping[str, Any], *, built_in: bool
) -> Callable[..., Any]:
    """Return the function with its options bound.

    Args:
        name: of the reward, for the message.
        function: what grades.
        options: keyword -> value; a table `policy` of r1core's own functions becomes a MathPolicy.
        built_in: whether the function is r1core's own. Its `**columns` are the data's, no options.

    Raises:
        ValueError: an option that the function does not take, or a policy that is not one.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some callables written in C have none
        return functools.partial(function, **options)
    kinds = inspect.Parameter
    taken = [
        p.name
        for p in parameters
        if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY) and p.name not in PASSED
    ]
    if built_in or all(p.kind is not kinds.VAR_KEYWORD for p in parameters):
        check_names(f"RewardSpec: options of {name!r}", options, taken)
    if built_in and isinstance(policy := options.get("policy"), Mapping):
        options = {**options, "policy": read_policy(policy)}
    return functools.partial(function, **options)


def read_policy(settings: Mapping[str, Any]) -> MathPolicy:
    """Return the verifier's policy of a table.

    Raises:
        ValueError: a setting that is none, or out of range.
    """
    check_names("MathPolicy: settings", settings, [field.name for field in fields(MathPolicy)])
    return MathPolicy(**settings)


def check_names(what: str, given: Collection[str], taken: Collection[str]) -> None:
    """Raise ValueError where a name is not among those taken; it names the nearest."""
    for name in given:
        if name not in taken:
            nearest = difflib.get_close_matches(name, taken, n=1, cutoff=0.5)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            known = f"be among {', '.join(taken)}" if taken else "be left out: it takes none"
            raise ValueError(f"{what} must {known}; got {name!r}{hint}")

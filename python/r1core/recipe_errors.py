"""What is wrong with a recipe, in one line, in the words of whoever wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from r1core.recipe_keys import TRL_NAMES, class_keys, classes_in, keys_of, kinds_of, rename_keys

UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's, of an unknown key

Keys = dict[str, Any]
Scope = tuple[str, Keys]
"""A table: its path with a dot at the end, "" for the whole recipe, and its keys."""


def explain(error: ValidationError, tables: dict[str, Any], recipe: type[BaseModel]) -> str:
    """Return the first error of a validation in one line.

    Args:
        error: of the tables, with our names in them.
        tables: the recipe as it was written.
        recipe: the class of a whole recipe.
    """
    errors = error.errors()  # a misspelt key first: what it should have been is missing as well
    first = next((found for found in errors if found["type"] in UNKNOWN), errors[0])
    # pydantic names the kind behind a stage's number; the recipe's reader knows it
    loc = [
        part for k, part in enumerate(first["loc"]) if not (k == 2 and first["loc"][0] == "stage")
    ]
    where = written(loc, tables)
    if first["type"] in UNKNOWN:
        scopes = scopes_of(loc[:-1], tables, recipe)
        return f"unknown key {where}{hint(str(loc[-1]), scopes, tables, recipe)}"
    message = first["msg"].removeprefix("Value error, ")
    got = first.get("input")
    if isinstance(got, (dict, list, BaseModel)) or first["type"] == "missing":
        return f"{where}: {message}"
    return f"{where}: {message}; got {got!r}"


def written(loc: Sequence[int | str], tables: dict[str, Any]) -> str:
    """Return a place as the recipe's writer calls it: a stage by its name, keys as spelled."""
    parts: list[str] = []
    value: Any = tables
    for part in loc:
        if isinstance(value, dict):
            same = (key for key in reversed(value) if part in (key, TRL_NAMES.get(key)))
            part = next(same, part)
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
            if parts == ["stage"] and (name := stage_name(value)):
                parts, part = [], name
        parts.append(str(part))
    return ".".join(parts) or "recipe"


def stage_name(stage: Any) -> str:
    """Return the name of a stage's table; "" where it has none."""
    name = stage.get("name") if isinstance(stage, dict) else None
    return name if isinstance(name, str) else ""


def scopes_of(
    loc: Sequence[int | str], tables: dict[str, Any], recipe: type[BaseModel]
) -> list[Scope]:
    """Return the tables that a place lies in, the innermost first."""
    kind: Any = recipe
    value: Any = rename_keys(tables, recipe)
    scopes = [("", keys_of(kind, value))]
    for k, part in enumerate(loc, start=1):
        if isinstance(part, str):
            kind = scopes[0][1].get(part)
        value = value[part]
        if isinstance(value, dict):
            scopes.insert(0, (f"{written(loc[:k], tables)}.", keys_of(kind, value)))
    return scopes


def hint(key: str, scopes: Sequence[Scope], tables: dict[str, Any], recipe: type[BaseModel]) -> str:
    """Return what may have been meant by an unknown key: a path that there is, or who has it."""
    (prefix, keys), outer = scopes[0], scopes[1:]
    named = {key, TRL_NAMES.get(key, key)}
    inside = [path for path in paths(keys, prefix) if is_named(path, named)]
    if not prefix:
        inside += [path for path in stage_paths(tables, recipe) if is_named(path, named)]
    if plain := [path for path in inside if "[]" not in path]:
        return meant(min(plain, key=depth))
    if others := other_kinds(key, keys, recipe):
        return meant(inside[0]) if inside else f"; stages that read it: {', '.join(others)}"
    if close := difflib.get_close_matches(key, keys, n=1, cutoff=0.5):
        return meant(prefix + close[0])
    around = [
        path
        for place, found in outer
        for path in paths(found, place)
        if is_named(path, named) and "[]" not in path
    ]
    if around or inside:
        return meant([*around, *inside][0])
    return f"; known: {', '.join(keys)}" if keys else ""


def meant(path: str) -> str:
    """Return the question after an unknown key."""
    return f"; did you mean {path!r}?"


def is_named(path: str, names: set[str]) -> bool:
    """Tell whether a path ends in one of some names."""
    return path.rpartition(".")[2] in names


def depth(path: str) -> int:
    """Return how many tables a path leads through."""
    return path.count(".")


def paths(keys: Keys, prefix: str) -> Iterator[str]:
    """Yield the paths of a table's keys and of those of the tables in it; `[]` is a list."""
    for name, kind in keys.items():
        yield prefix + name
        classes = list(classes_in(kind))
        if len(classes) == 1:  # stages have their own: which keys they have, their kind says
            origin: Any = get_origin(kind)
            dot = "[]." if origin is list else "."
            yield from paths(class_keys(classes[0]), prefix + name + dot)


def stage_paths(tables: dict[str, Any], recipe: type[BaseModel]) -> Iterator[str]:
    """Yield the paths of the stages of a recipe, by their names."""
    kind = class_keys(recipe)["stage"]
    listed = tables.get("stage")
    for stage in listed if isinstance(listed, list) else []:
        if name := stage_name(stage):
            yield from paths(keys_of(kind, stage), f"{name}.")


def other_kinds(key: str, keys: Keys, recipe: type[BaseModel]) -> list[str]:
    """Return the kinds of stages that have a key, where it was written in one of another kind."""
    stages = list(classes_in(class_keys(recipe)["stage"]))
    if get_args(keys.get("kind")) not in [kinds_of(stage) for stage in stages]:
        return []
    return [kind for stage in stages if key in class_keys(stage) for kind in kinds_of(stage)]

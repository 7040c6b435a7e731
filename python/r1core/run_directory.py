"""The directory of a run: used by one process at a time, gone on with by the same recipe only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from r1core.diagnosis import FAILURE_FILE
from r1core.manifest import write_atomic
from r1core.recipe import Recipe, RecipeError, load_recipe, to_toml
from r1core.trackers import WANDB_ID
from r1core.tracking import METRICS_FILE

RECIPE_FILE, MANIFEST_FILE, LOCK_FILE = "recipe.toml", "manifest.json", ".lock"
BEFORE_RESULTS = {RECIPE_FILE, MANIFEST_FILE, FAILURE_FILE, "report.md", "pipeline.png"}
BEFORE_RESULTS |= {"tensorboard", "wandb", WANDB_ID}
"""What a run directory may hold before there is a metric."""

FREE_TABLES = ("trackers", "comparison")  # change nothing that a run computes


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other processes out of a run directory, which is made if missing.

    Raises:
        RecipeError: another process is writing to it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(directory / LOCK_FILE, timeout=0):  # freed by the system if its holder dies
            yield
    except Timeout:
        raise RecipeError(
            f"{directory} is in use by another process; wait for it or choose another --output"
        ) from None


def holds_run(directory: Path, recipe: Recipe, *, overwrite: bool = False) -> bool:
    """Tell whether there is an earlier run of the same recipe to go on with.

    A run without a result is none: the corrected recipe begins in its place.

    Args:
        directory: the run directory.
        recipe: what is about to run.
        overwrite: whether an earlier run may be replaced; then there is none to go on with.

    Raises:
        RecipeError: the directory is in use for something else.
    """
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
    names = {name for name in names if not name.startswith(".")}
    if not names - {MANIFEST_FILE} and not directory.is_file():
        return False  # empty, or of a run that was killed before it began
    if not {RECIPE_FILE, MANIFEST_FILE} <= names:
        raise RecipeError(f"{directory} is not empty; it holds no run: choose another --output")
    if overwrite or not has_results(directory):
        return False
    if difference := first_difference(directory / RECIPE_FILE, recipe):
        raise RecipeError(
            f"{directory} holds a run of another recipe ({difference}); pass --overwrite to "
            "replace it, or choose another --output"
        )
    return True


def has_results(directory: Path) -> bool:
    """Tell whether a run has logged or saved anything, or holds files that are not its own.

    A run that failed before, in a reward's first call or a tracker's login, has nothing to go on
    with.
    """
    for path in directory.iterdir():
        if path.name == METRICS_FILE:
            found = b"\n" in path.read_bytes()  # half a line is none
        elif path.name in BEFORE_RESULTS or path.name.startswith("."):
            found = False
        else:
            found = not path.is_dir() or any(not each.is_dir() for each in path.rglob("*"))
        if found:
            return True
    return False


def first_difference(path: Path, recipe: Recipe) -> str | None:
    """Return the first key in which a run's recipe and another differ, with both values."""
    try:
        earlier = flat(load_recipe(path).model_dump(mode="json", by_alias=True))
    except RecipeError as error:
        return f"which this version cannot read: {error}"
    now = flat(recipe.model_dump(mode="json", by_alias=True))
    for key in [*earlier, *now]:
        if not is_free(key) and earlier.get(key) != now.get(key):
            return f"{key} is {earlier.get(key)!r} there and {now.get(key)!r} here"
    return None


def is_free(key: str) -> bool:
    """Tell whether a key of a flat recipe may change between the parts of a run."""
    table, *rest = key.split(".")  # a stage's name has no dot
    return table in FREE_TABLES or (table == "stage" and rest[1:2] == ["checkpoint"])


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested tables as `a.b.c` -> value; a list's tables go by their name, or number."""
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(zip(names_of(value), value, strict=True))
    else:
        return {prefix: value}
    found: dict[str, Any] = {}
    for name, item in items:
        found |= flat(item, f"{prefix}.{name}" if prefix else str(name))
    return found


def names_of(items: list[Any]) -> list[str]:
    """Return what a list's items are called in a message: `x`, and a second of that name `x#2`."""
    names: list[str] = []
    for index, item in enumerate(items):
        name = str(item.get("name", index)) if isinstance(item, Mapping) else str(index)
        numbered = (f"{name}#{number}" for number in count(2))
        names.append(next(each for each in chain([name], numbered) if each not in names))
    return names


def begin_run(directory: Path, recipe: Recipe, manifest: Mapping[str, Any]) -> None:
    """Empty a run directory that is locked and write what the run is."""
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()
    write_atomic(directory / MANIFEST_FILE, json.dumps(manifest, indent=2) + "\n")
    write_atomic(directory / RECIPE_FILE, to_toml(recipe))  # last: now there is a run


def changes_since(directory: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return what differs from when the run began and may change its bits, a line each.

    Raises:
        RecipeError: a stage's questions are others than when the run began.
    """
    earlier = json.loads((directory / MANIFEST_FILE).read_text())
    for stage, fingerprint in manifest["data"].items():
        if earlier["data"].get(stage) != fingerprint:
            raise RecipeError(
                f"stage {stage!r}: its data is not what the run in {directory} began with; put it "
                "back, or pass --overwrite to begin again"
            )
    then, now = (flat({k: m[k] for k in ("versions", "hardware")}) for m in (earlier, manifest))
    return [
        f"{key}: {then.get(key)} then, {now[key]} now" for key in now if then.get(key) != now[key]
    ]

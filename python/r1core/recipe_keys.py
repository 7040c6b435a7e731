"""The keys of a recipe's tables, read off the classes that its tables fill; TRL's names for them.

A table whose keys are the user's own (a reward's `options`, `data.columns`) has none here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from r1core.loss_config import LossConfig

TRL_NAMES = {
    "num_generations": "n",
    "max_completion_length": "max_new_tokens",
    "learning_rate": "lr",
    "max_steps": "steps",
    "ref_model_sync_steps": "reference_every",
    "lr_scheduler_type": "schedule",
    "model_name_or_path": "path",
    "save_steps": "every",
    "save_total_limit": "keep",
    "lora_r": "r",
    "lora_target_modules": "target_modules",
}
"""TRL's name -> ours, in every table that has ours."""


def rename_keys(value: Any, kind: Any) -> Any:
    """Replace TRL's names by ours in the tables of a class; of two spellings the later one counts.

    Args:
        value: a table, a list of tables or anything else, which stays as it is.
        kind: the class that it fills, or an annotation with such classes in it.
    """
    if isinstance(value, list):
        return [rename_keys(item, kind) for item in value]
    if not isinstance(value, dict):
        return value
    keys = keys_of(kind, value)
    renamed: dict[str, Any] = {}
    for key, item in value.items():
        ours = our_name(key, keys)
        renamed[ours] = rename_keys(item, keys.get(ours))
    return renamed


def our_name(key: str, keys: dict[str, Any]) -> str:
    """Return our name of a key where a table of such keys has it and not the key itself."""
    ours = TRL_NAMES.get(key, key)
    return ours if ours in keys and key not in keys else key


def keys_of(kind: Any, value: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a table and their annotations; none where they are the user's own.

    Args:
        kind: as in `rename_keys`; of several classes the table's own `kind` chooses.
        value: the table.
    """
    if get_origin(kind) is dict:  # [models]: the user's names of tables of one class
        return dict.fromkeys(value, get_args(kind)[1])
    classes = list(classes_in(kind))
    if len(classes) > 1:
        classes = [found for found in classes if value.get("kind") in kinds_of(found)]
    return class_keys(classes[0]) if classes else {}


def classes_in(kind: Any) -> Iterator[type]:
    """Yield the classes of tables in an annotation."""
    if isinstance(kind, type) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind)):
        yield kind
    elif get_origin(kind) is not dict:
        for part in get_args(kind):
            yield from classes_in(part)


def kinds_of(stage: type) -> tuple[str, ...]:
    """Return the values of `kind` that choose a class of stages."""
    return get_args(class_keys(stage).get("kind"))


def class_keys(found: type) -> dict[str, Any]:
    """Return the keys of a class of tables, by their names in TOML, and their annotations."""
    if issubclass(found, BaseModel):
        fields = found.model_fields.items()
        return {field.alias or name: field.annotation for name, field in fields}
    hints = get_type_hints(found)
    keys = {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}
    return keys | ({"preset": str} if found is LossConfig else {})

"""Recipes: TOML files that name the stages of a run in order, with their settings.

Unknown keys are errors that name the nearest known one; TRL's names are understood
(`recipe_keys.TRL_NAMES`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from r1core.recipe_errors import explain
from r1core.recipe_keys import rename_keys
from r1core.recipe_sections import BenchmarkSection, ComparisonSection, ModelSection
from r1core.recipe_stages import Stage

PACKAGED_RECIPES = Path(__file__).parent / "recipes"


class RecipeError(ValueError):
    """A recipe that cannot run; the message is one line that says what to change."""


class Recipe(BaseModel):
    """A whole run.

    Attributes:
        name: of the run's directory.
        seed: of the worlds, the orders and the sampling.
        trackers: what is told of every step.
        model: the base.
        models: further models, which stages start from by their names.
        benchmark: evaluations that every policy goes through: the rows of the table of stages.
        comparison: pictures of the report with several stages each.
        stage: the stages, in order.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    seed: int = Field(0, ge=0)
    trackers: list[str] = []
    model: ModelSection
    models: dict[str, ModelSection] = {}
    benchmark: list[BenchmarkSection] = []
    comparison: list[ComparisonSection] = []
    stage: list[Stage] = Field(min_length=1)

    @model_validator(mode="after")
    def _starts_exist(self) -> Recipe:
        known = ["base", *self.models]
        for stage in self.stage:
            if stage.name in known:
                raise ValueError(f"stage names must differ; {stage.name!r} is used twice")
            if stage.start not in known and not Path(stage.start).is_dir():
                raise ValueError(
                    f"stage {stage.name!r}: from must be {', '.join(known)} or a directory; "
                    f"got {stage.start!r}"
                )
            for needed in stage.needs():
                if needed not in [earlier for earlier in known if earlier != "base"]:
                    raise ValueError(
                        f"stage {stage.name!r}: data.stage must be an earlier stage; got {needed!r}"
                    )
            known.append(stage.name)
        return self

    @model_validator(mode="after")
    def _comparisons_exist(self) -> Recipe:
        names = [stage.name for stage in self.stage]
        for comparison in self.comparison:
            for name in comparison.stages:
                if name not in names:
                    raise ValueError(
                        f"comparison {comparison.name!r}: stages must be of {', '.join(names)}; "
                        f"got {name!r}"
                    )
        return self


def load_recipe(
    source: str | Path, overrides: Iterable[str] = (), *, model: str | None = None
) -> Recipe:
    """Read a recipe file, or a packaged recipe by name, and apply `key=value` overrides.

    Args:
        source: path of a TOML file, or the name of a packaged recipe such as "gsm8k_zero".
        overrides: `seed=1`, `model.path=DIR` or `<stage name>.loss.beta=0`; values are TOML, or
            plain text where that does not parse.
        model: directory or hub name that replaces the recipe's [model] source.

    Raises:
        RecipeError: no such file, no valid TOML, an unknown key or a value out of range.
    """
    path = find_recipe(source)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None
    if model is not None:
        section = tables.get("model")
        kept = section.items() if isinstance(section, dict) else ()
        tables["model"] = {key: value for key, value in kept if key != "world"} | {"path": model}
    for override in overrides:
        apply_override(tables, override)
    return parse_recipe(tables, str(path))


def find_recipe(source: str | Path) -> Path:
    """Return the path of a recipe file; packaged recipes are found by name."""
    path = Path(source)
    packaged = PACKAGED_RECIPES / f"{path.stem}.toml"
    if path.is_file():
        return path
    if packaged.is_file() and path.suffix in ("", ".toml") and path.parent.name in ("", "recipes"):
        return packaged
    known = sorted(file.stem for file in PACKAGED_RECIPES.glob("*.toml"))
    raise RecipeError(f"no recipe {str(source)!r}: neither a file nor one of {', '.join(known)}")


def parse_recipe(tables: dict[str, Any], source: str) -> Recipe:
    """Validate the tables of a recipe; errors name the key, the rule and the value."""
    try:
        return Recipe.model_validate(rename_keys(tables, Recipe))
    except ValidationError as error:
        raise RecipeError(f"{source}: {explain(error, tables, Recipe)}") from None


def apply_override(tables: dict[str, Any], override: str) -> None:
    """Set one `a.b=value` in place; the first part may be a stage's name."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set takes key=value; got {override!r}")
    parts = key.strip().split(".")
    listed = tables.get("stage")
    listed = listed if isinstance(listed, list) else []
    stages = {stage.get("name"): stage for stage in listed if isinstance(stage, dict)}
    table: Any = stages.get(parts[0]) if len(parts) > 1 else None
    if table is not None:
        parts = parts[1:]
    elif len(parts) > 1 and parts[0] not in tables:
        raise RecipeError(
            f"--set {key}: {parts[0]!r} is neither a stage nor a table of this recipe; known: "
            f"{', '.join([*map(str, stages), *(k for k in tables if k != 'stage')])}"
        )
    else:
        table = tables
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise RecipeError(f"--set {key}: {part!r} is not a table")
    table.pop(parts[-1], None)  # set last, it comes last: of two spellings the later one counts
    table[parts[-1]] = parse_value(text.strip())


def parse_value(text: str) -> Any:
    """Read a TOML value; anything that is none is taken as text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def to_toml(recipe: Recipe) -> str:
    """Return the resolved recipe, every default written out; `load_recipe` reads it back."""
    tables = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    return tomli_w.dumps(tables)

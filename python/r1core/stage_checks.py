"""What can be checked of stages before the first of them trains: files, functions, rewards.

A wrong name in the last stage must not cost the days of those before it.
"""

from __future__ import annotations

from r1core.data.sources import read_rows
from r1core.recipe import Recipe, RecipeError
from r1core.recipe_stages import ColdStartStage, PreferenceStage, Stage
from r1core.reward_sections import resolve_reward
from r1core.stages.chat_model import load_function


def check_stages(recipe: Recipe) -> None:
    """Find every file, function and reward that a recipe names.

    Raises:
        RecipeError: one is missing or cannot be read; one line that names its stage.
    """
    seen: set[str] = set()
    for stage in recipe.stage:
        try:
            check_data(stage, seen)
            check_functions(stage)
        except ValueError as error:
            raise RecipeError(f"stage {stage.name!r}: {error}") from error


def check_data(stage: Stage, seen: set[str]) -> None:
    """Read the data that no other stage has to write first; each once."""
    for spec in stage.data_specs():
        key = repr((spec.path, spec.name, spec.split, spec.revision))
        if spec.path is None or key in seen:
            continue
        seen.add(key)
        if not read_rows(spec).rows:
            raise ValueError(f"data must hold rows; {spec.source} has none")


def check_functions(stage: Stage) -> None:
    """Find the functions that grade, rewrite and judge; reward models come later."""
    for section in stage.all_rewards():
        if section.stage is None:
            resolve_reward(section, None)
    asked = stage.rewriter if isinstance(stage, ColdStartStage) else None
    asked = stage.judge if isinstance(stage, PreferenceStage) else asked
    if asked is not None and asked.function is not None:
        load_function(asked.function)

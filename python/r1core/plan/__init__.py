"""`r1core plan`: what a recipe needs in memory, stage by stage, before anything is loaded.

Sizes come from a model's configuration; each formula says what it counts and why. The settings of
a stage become `Moment`s (sampling, update, optimizer step), and the largest is the stage's peak.
"""

from r1core.plan.advice import Advice, advise, advise_recipe
from r1core.plan.device import Device, find_device
from r1core.plan.recipe_plan import RecipePlan, plan_recipe
from r1core.plan.show import as_json, print_plan
from r1core.plan.stage_plan import Moment, StagePlan

__all__ = [
    "Advice",
    "Device",
    "Moment",
    "RecipePlan",
    "StagePlan",
    "advise",
    "advise_recipe",
    "as_json",
    "find_device",
    "plan_recipe",
    "print_plan",
]

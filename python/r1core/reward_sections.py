"""From a recipe's reward tables to reward functions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1core.recipe_sections import RewardSection
from r1core.reward_model import RewardModel
from r1core.rewards import RewardSpec
from r1core.rewards.call import accepted_arguments
from r1core.rewards.spec import RewardFunction


def resolve_rewards(sections: Sequence[RewardSection], directory: Path | None) -> list[RewardSpec]:
    """Return the reward functions of a stage.

    Args:
        sections: its tables.
        directory: of the run, where its reward models are.

    Raises:
        ValueError: no such name, module, function or reward model.
    """
    return [resolve_reward(section, directory) for section in sections]


def resolve_reward(section: RewardSection, directory: Path | None) -> RewardSpec:
    """Return one reward function."""
    if section.stage is not None:
        assert directory is not None, "a reward model is there once its stage has run"
        path = directory / "stages" / section.stage
        found = RewardSpec.resolve(
            RewardModel.from_pretrained(path, name=section.name),
            section.weight,
            timeout_seconds=section.timeout_seconds,
            from_step=section.from_step,
        )
    else:
        found = RewardSpec.resolve(
            section.name,
            section.weight,
            isolate=section.isolate,
            timeout_seconds=section.timeout_seconds,
            workers=section.workers,
            from_step=section.from_step,
            **section.options,
        )
    return found if section.domain is None else found.on(InDomain(found.function, section.domain))


class InDomain:
    """A reward function that grades the questions of one domain and abstains on the others.

    Args:
        function: what grades.
        domain: as in the questions' column "domain".
    """

    def __init__(self, function: RewardFunction, domain: str) -> None:
        self.function, self.domain = function, domain

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        domain: Sequence[Any] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Score N completions; None where the question is of another domain."""
        names = domain or [None] * len(completions)  # data of one kind has no such column
        mine = [n for n, name in enumerate(names) if name == self.domain]
        scores: list[float | None] = [None] * len(completions)
        if mine:
            chosen = {
                name: [values[n] for n in mine]
                for name, values in columns.items()
                if isinstance(values, list) and len(values) == len(completions)
            }
            if "trainer_state" in columns:  # of no row, unlike what log_extra takes
                chosen["trainer_state"] = columns["trainer_state"]
            chosen |= {
                "prompts": [prompts[n] for n in mine],
                "completions": [completions[n] for n in mine],
                "domain": [self.domain] * len(mine),
            }
            spec = RewardSpec(self.function, self.domain)
            found = self.function(**accepted_arguments(spec, chosen))
            for n, score in zip(mine, found, strict=True):
                scores[n] = score
        return scores

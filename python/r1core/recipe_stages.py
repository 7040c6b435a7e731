"""The `[[stage]]` tables of a recipe, one class per kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r1core.checkpoint import CheckpointConfig
from r1core.data import DataSpec
from r1core.eval_sets import find_eval_set
from r1core.recipe_data import Use, check_read
from r1core.recipe_sections import MixtureSection, RewardSection, SourceSection
from r1core.stages.chat_model import ChatModelConfig
from r1core.stages.dataset import SamplingStageConfig
from r1core.stages.evaluate import EvaluationConfig
from r1core.stages.ppo_config import PPOConfig
from r1core.stages.preferences import PreferenceConfig
from r1core.stages.reward_model import RewardModelConfig
from r1core.stages.rl_config import ReasoningRLConfig, RLConfig
from r1core.stages.sft import SFTConfig

DataTable = tuple[str, DataSpec | None, Use]
"""A data table's name, itself where there is one, and what it is for."""


class StageSection(BaseModel):
    """What every stage's table has.

    Attributes:
        name: the stage's name in this recipe.
        start: `from` in TOML: "base", a table of [models], an earlier stage, or a directory.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    start: str = Field(alias="from")

    def data_tables(self) -> list[DataTable]:
        """Return every data table of the stage with its name and what it is for."""
        return []

    def data_specs(self) -> list[DataSpec]:
        """Return every data table of the stage."""
        return [spec for _, spec, _ in self.data_tables() if spec is not None]

    def needs(self) -> set[str]:
        """Return the names of the stages whose data or reward model this stage uses."""
        return {spec.stage for spec in self.data_specs() if spec.stage is not None} | {
            reward.stage for reward in self.all_rewards() if reward.stage is not None
        }

    def all_rewards(self) -> list[RewardSection]:
        """Return every reward of the stage."""
        return list(getattr(self, "rewards", []))

    @model_validator(mode="after")
    def _every_key_is_read(self) -> StageSection:
        for name, spec, use in self.data_tables():
            if spec is not None:
                check_read(name, spec, use)
        sampling = getattr(self, "sampling", None)
        if sampling is not None and sampling.seed:
            raise ValueError("sampling.seed follows from the recipe's seed; set that instead")
        return self


class RLStage(StageSection, RLConfig):
    """What every stage of reinforcement learning has: data, rewards and evaluation.

    Attributes:
        data: training prompts.
        mixture: further training prompts, of other data.
        rewards: the functions whose weighted sum is the reward.
        evaluation: when and how to evaluate.
        evaluation_data: prompts of the evaluation; None takes a world's own evaluation split.
        checkpoint: how often the stage's state is saved, and how much of it is kept.
    """

    data: DataSpec
    mixture: list[MixtureSection] = []
    rewards: list[RewardSection] = Field(min_length=1)
    evaluation: EvaluationConfig = EvaluationConfig()
    evaluation_data: DataSpec | None = None
    checkpoint: CheckpointConfig = CheckpointConfig()

    def data_tables(self) -> list[DataTable]:
        """Return every data table of the stage with its name and what it is for."""
        own: list[DataTable] = [
            ("data", self.data, "train"),
            ("evaluation_data", self.evaluation_data, "ask"),
        ]
        return own + [(f"mixture.{k}.data", x.data, "mixture") for k, x in enumerate(self.mixture)]

    @model_validator(mode="after")
    def _shares_leave_room(self) -> RLStage:
        total = sum(part.share for part in self.mixture)
        if total >= 1:
            raise ValueError(f"mixture: shares must sum to less than 1; got {total:g}")
        return self


class ReasoningRLStage(RLStage, ReasoningRLConfig):
    """A `reasoning_rl` stage of a recipe: GRPO.

    Attributes:
        kind: "reasoning_rl"; "preference_rl" where reward models have their say (R1's second one),
            by the same algorithm.
    """

    kind: Literal["reasoning_rl", "preference_rl"]


class PPOStage(RLStage, PPOConfig):
    """A `ppo` stage of a recipe: the same with a critic in place of the group.

    Attributes:
        kind: "ppo".
    """

    kind: Literal["ppo"]


class SFTStage(StageSection, SFTConfig):
    """An `sft` stage of a recipe.

    Attributes:
        kind: "sft"; "distill" where the examples are another model's (paper, section 2.4).
        data: examples: `prompt` and `completion`, or `messages`; often `{ stage = "cold_start" }`.
        evaluation_data: examples of the evaluation loss; None where the recipe has none.
        evaluation_every: updates between two evaluations; there is one before and one after.
        checkpoint: how often the stage's state is saved, and how much of it is kept.
    """

    kind: Literal["sft", "distill"]
    data: DataSpec
    evaluation_data: DataSpec | None = None
    evaluation_every: int = Field(20, ge=1)
    checkpoint: CheckpointConfig = CheckpointConfig()

    def data_tables(self) -> list[DataTable]:
        """Return every data table of the stage with its name and what it is for."""
        return [
            ("data", self.data, "imitate"),
            ("evaluation_data", self.evaluation_data, "imitate"),
        ]

    @model_validator(mode="after")
    def _only_examples(self) -> SFTStage:
        for spec in self.data_specs():
            if spec.world is not None:
                raise ValueError(
                    "an sft stage's data must hold completions; a world has only questions"
                )
        return self


class DatasetSection(StageSection):
    """What every stage that makes a data set has: one or several sources."""

    sources: list[SourceSection] = Field(min_length=1)

    def data_tables(self) -> list[DataTable]:
        """Return every data table of the stage with its name and what it is for."""
        return [(f"sources.{k}.data", x.data, "source") for k, x in enumerate(self.sources)]

    def all_rewards(self) -> list[RewardSection]:
        """Return every reward of the stage."""
        return [reward for source in self.sources for reward in source.rewards]


class ColdStartStage(DatasetSection, SamplingStageConfig):
    """A `cold_start` stage of a recipe: sample, select, rewrite.

    Attributes:
        kind: "cold_start".
        rewriter: what makes kept completions readable; its function is f(row, completion) -> text,
            or None to drop the row.
    """

    kind: Literal["cold_start"]
    rewriter: ChatModelConfig


class RejectionSamplingStage(DatasetSection, SamplingStageConfig):
    """A `rejection_sampling` stage of a recipe: sample several per prompt, keep the best."""

    kind: Literal["rejection_sampling"]


class PreferenceStage(DatasetSection, PreferenceConfig):
    """A `preferences` stage of a recipe: what reward models learn from.

    Attributes:
        kind: "preferences".
        form: "pairs", judged in both orders, or "labels" of safety.
        judge: who compares; its function is f(row, first, second) -> how much better the first is,
            or for labels f(row, completion) -> 1 for safe, 0 for unsafe; None where it cannot tell.
    """

    kind: Literal["preferences"]
    form: Literal["pairs", "labels"]
    judge: ChatModelConfig

    @model_validator(mode="after")
    def _the_judge_grades(self) -> PreferenceStage:
        if names := [reward.name for reward in self.all_rewards()]:
            raise ValueError(
                "sources' rewards are not read here, where the judge grades, only by: sources of "
                f"cold_start and rejection_sampling; got {', '.join(names)}"
            )
        return self


class RewardModelStage(StageSection, RewardModelConfig):
    """A `reward_model` stage of a recipe.

    Attributes:
        kind: "reward_model".
        data: rows of its form, often of a `preferences` stage.
        evaluation_data: rows of the evaluation; None where the recipe has none.
        evaluation_every: updates between two evaluations.
        checkpoint: how often the stage's state is saved, and how much of it is kept.
    """

    kind: Literal["reward_model"]
    data: DataSpec
    evaluation_data: DataSpec | None = None
    evaluation_every: int = Field(20, ge=1)
    checkpoint: CheckpointConfig = CheckpointConfig()

    def data_tables(self) -> list[DataTable]:
        """Return every data table of the stage with its name and what it is for."""
        return [
            ("data", self.data, "judge"),
            ("evaluation_data", self.evaluation_data, "judge"),
        ]


class EvaluateStage(StageSection):
    """An `evaluate` stage of a recipe: asks the policy that it starts from, and passes it on.

    Its result is in `stages/<name>`, as `r1core eval` writes it. A stage that starts from it starts
    from the same weights.

    Attributes:
        kind: "evaluate".
        set: name of an evaluation set; one of set and data is given.
        path: local copy of the set.
        data: questions of any other kind.
        rewards: what grades data, accuracy where there is none; of a set, further figures.
        questions: how many; None asks all. Of data, the first ones.
        shots: worked examples before each question of a set.
        shots_path: file of worked examples.
        template: what the policy sees around a set's question; None takes "chat" where its
            tokenizer has a chat template, else "none".
        samples: k, answers per question; None takes the paper's k for the set, or 4.
        temperature: sampling temperature (paper: 0.6).
        top_p: nucleus mass (paper: 0.95).
        max_new_tokens: completion limit in tokens (paper: 32,768).
    """

    kind: Literal["evaluate"]
    set: str | None = None
    path: str | None = None
    data: DataSpec | None = None
    rewards: list[RewardSection] = []
    questions: int | None = Field(None, ge=1)
    shots: int = Field(0, ge=0)
    shots_path: str | None = None
    template: Literal["r1_zero", "chat", "none"] | None = None
    samples: int | None = Field(None, ge=1)
    temperature: float = Field(0.6, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(256, ge=1)

    model_config = ConfigDict(extra="forbid")

    def data_tables(self) -> list[DataTable]:
        """Return every data table of the stage with its name and what it is for."""
        return [("data", self.data, "ask")]

    @model_validator(mode="after")
    def _one_source(self) -> EvaluateStage:
        if (self.set is None) == (self.data is None):
            raise ValueError("an evaluate stage needs exactly one of set and data")
        of_set = (self.path, self.shots_path, self.template, self.shots or None)
        if self.set is not None:
            find_eval_set(self.set).rewards()
        elif any(value is not None for value in of_set):
            raise ValueError("path, shots, shots_path and template go with set; data has its own")
        return self


TrainingStage = RLStage | SFTStage | RewardModelStage
DatasetStage = ColdStartStage | RejectionSamplingStage | PreferenceStage
Stage = Annotated[
    ReasoningRLStage
    | PPOStage
    | SFTStage
    | ColdStartStage
    | RejectionSamplingStage
    | PreferenceStage
    | RewardModelStage
    | EvaluateStage,
    Field(discriminator="kind"),
]

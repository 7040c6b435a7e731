"""Tables that stages are made of: the models, their data, rewards, benchmarks and pictures."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r1core.data import DataSpec
from r1core.forward import ForwardKind
from r1core.lora import LoraSettings
from r1core.recipe_data import check_read
from r1core.rewards.spec import Isolation


class ModelSection(BaseModel):
    """Where the base comes from: an embedded world, or a Hugging Face causal LM.

    Attributes:
        world: name of an embedded world, whose base is pretrained on first use and cached.
        path: directory or hub name of a checkpoint.
        dtype: of the parameters.
        device: where they live.
        lora: train an adapter of this shape in every stage, the start of the stage being its
            base and its reference; None trains every weight. A finished stage is written merged.
        forward: "native" trains by the engine's own kernels, "hf" by the model's own forward;
            "auto" by the engine's where its table describes the model.
        gradient_checkpointing: keep each layer's input alone and compute the rest again for the
            backward pass: less memory, about a third more time.
        num_hidden_layers: layers of a world's base; None takes three.
        hidden_size: width of a world's base, a multiple of 32; None takes 128.
        pretrain_steps: steps that a world's base is pretrained for; None until its skill has
            formed, 0 leaves it at random.
    """

    model_config = ConfigDict(extra="forbid")

    world: str | None = None
    path: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    lora: LoraSettings | None = None
    forward: ForwardKind = "auto"
    gradient_checkpointing: bool = False
    num_hidden_layers: int | None = Field(None, ge=1)
    hidden_size: int | None = Field(None, ge=32, multiple_of=32)
    pretrain_steps: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _one_source(self) -> ModelSection:
        if (self.world is None) == (self.path is None):
            raise ValueError("[model] needs exactly one of world and path")
        sizes = (self.num_hidden_layers, self.hidden_size, self.pretrain_steps)
        if self.world is None and any(size is not None for size in sizes):
            raise ValueError(
                "[model] num_hidden_layers, hidden_size and pretrain_steps shape a world's base; "
                "a checkpoint has its own"
            )
        if self.world is not None and (self.dtype, self.device) != ("float32", "cpu"):
            raise ValueError(
                "[model] with a world runs in float32 on the cpu; drop dtype and device"
            )
        return self


class RewardSection(BaseModel):
    """One reward function by name or `package.module:function`, and its weight in the sum.

    A name alone, "accuracy", stands for { name = "accuracy" }. The other keys are those of
    `RewardSpec`, and:

    Attributes:
        stage: name of an earlier `reward_model` stage, which then is the function.
        options: bound to the function's keywords: `{ style = "think_summary" }`.
        domain: of the questions that it grades, by their column "domain"; it abstains on others.
        from_step: first update that it counts in (R1 uses its reward models in the last 400 of
            1,700 steps).
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    weight: float = 1.0
    stage: str | None = None
    options: dict[str, Any] = {}
    domain: str | None = None
    from_step: int = Field(1, ge=1)
    isolate: Isolation | None = None
    timeout_seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    workers: int | None = Field(None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _a_model_takes_no_options(self) -> RewardSection:
        unread = [key for key in ("options", "isolate", "workers") if getattr(self, key)]
        if self.stage is not None and unread:
            raise ValueError(
                f"{unread[0]} is for functions; a reward model, stage = {self.stage!r}, does not "
                f"read it; got {getattr(self, unread[0])!r}"
            )
        return self


class BenchmarkSection(BaseModel):
    """An evaluation that every policy of the run goes through when its stage is done.

    Attributes:
        name: of the row in the table of stages.
        data: its questions.
        rewards: what grades the answers; the first is the headline.
        questions: how many of them.
        samples: k, answers per question; the figures are means over them.
        temperature: sampling temperature (paper: 0.6).
        top_p: nucleus mass (paper: 0.95).
        max_new_tokens: completion limit in tokens.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    data: DataSpec
    rewards: list[RewardSection] = Field(min_length=1)
    questions: int = Field(200, ge=1)
    samples: int = Field(4, ge=1)
    temperature: float = Field(0.6, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(256, ge=1)

    @model_validator(mode="after")
    def _every_key_is_read(self) -> BenchmarkSection:
        check_read("data", self.data, "ask")
        return self


class ComparisonSection(BaseModel):
    """A picture of the report: some stages beside each other.

    Attributes:
        name: its title.
        stages: one line each, in this order.
        metrics: of `metrics.jsonl`, one panel each.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    stages: list[str] = Field(min_length=1)
    metrics: list[str] = Field(min_length=1)


class MixtureSection(BaseModel):
    """Further training prompts of a stage.

    Attributes:
        data: the prompts.
        share: of all prompts while they are in force, in (0, 1); the stage's `data` has the rest.
        from_step: first update that they are in force for (R1's second stage: 1,301 of 1,700).
    """

    model_config = ConfigDict(extra="forbid")

    data: DataSpec
    share: float = Field(gt=0, lt=1)
    from_step: int = Field(1, ge=1)


class SourceSection(BaseModel):
    """Where a stage that makes a data set takes some of its questions from.

    Attributes:
        name: of this part: the rows' column "source".
        data: the questions, each sampled once.
        rewards: what grades; "accuracy", or else the first, says what is correct.
        weight: its part in the proportion of the sources (3 to 1 for R1's reasoning and general
            data); None keeps all of its rows.
        quota: most rows kept; sampling ends there.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    data: DataSpec
    rewards: list[RewardSection] = []
    weight: float | None = Field(None, gt=0)
    quota: int | None = Field(None, ge=1)

"""A recipe's `data` table."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

REWARD_ARGUMENTS = (
    "prompts",
    "completion",
    "completions",
    "completion_ids",
    "trainer_state",
    "log_extra",
    "log_metric",
)
"""What a reward function is passed beside the columns; a column of that name would not reach it."""


class DataSpec(BaseModel):
    """A recipe's `data` table.

    Attributes:
        world: name of an embedded world; exclusive with `path`.
        path: a .jsonl, .json, .parquet or .csv file; a pattern of such files ("part-*.jsonl"); a
            directory of `<split>.<extension>` files, or any that `datasets` reads; or the name of
            a data set on the Hugging Face hub.
        split: which part; files named one by one or by a pattern have no parts and ignore it.
        prompt: the column that holds the question, text or chat messages; a dotted name reaches
            into a column ("extra.question").
        answer: the column that holds the gold; "" where the data has none.
        columns: further columns by the names that rewards and `order_by` know: ours -> the data's.
            Columns that are not named here reach the rewards under their own names.
        name: the configuration of a hub dataset ("main" of openai/gsm8k).
        template: what the policy sees of a question: R1-Zero's plain-text template, a chat message,
            or the question as it is.
        limit: use the first so many rows.
        max_prompt_length: longest templated prompt kept, in tokens; longer ones are dropped, as
            are those that leave the completion no room in the context.
    """

    model_config = ConfigDict(extra="forbid")

    world: str | None = None
    path: str | None = None
    split: str = "train"
    prompt: str = "prompt"
    answer: str = "answer"
    columns: dict[str, str] = Field(default_factory=dict)
    name: str | None = None
    template: Literal["r1_zero", "chat", "none"] = "none"
    limit: int | None = Field(default=None, ge=1)
    max_prompt_length: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        if (self.world is None) == (self.path is None):
            raise ValueError("data needs exactly one of world and path")
        return self

    @field_validator("columns")
    @classmethod
    def _free_names(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name in ("prompt", "answer"):
                raise ValueError(f"columns must not name {name!r}; set {name} itself")
            if name in REWARD_ARGUMENTS:
                raise ValueError(f"columns must not name {name!r}, which rewards are passed anyway")
        return columns

    @property
    def source(self) -> str:
        """What messages call this data."""
        return f"world {self.world!r}" if self.path is None else self.path

"""A recipe's `data` table."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DataSpec(BaseModel):
    """A recipe's `data` table.

    Attributes:
        world: name of an embedded world; exclusive with `path`.
        path: a .jsonl, .json, .parquet or .csv file; a directory of `<split>.<extension>` files; or
            the name of a dataset on the Hugging Face hub.
        split: which part; a single file has no parts and ignores it.
        prompt: the column that holds the question: text or chat messages.
        answer: the column that holds the gold; "" where the data has none.
        name: the configuration of a hub dataset ("main" of openai/gsm8k).
        template: what the policy sees of a question: R1-Zero's plain-text template, a chat message,
            or the question as it is.
        limit: use the first so many rows.
    """

    model_config = ConfigDict(extra="forbid")

    world: str | None = None
    path: str | None = None
    split: str = "train"
    prompt: str = "prompt"
    answer: str = "answer"
    name: str | None = None
    template: Literal["r1_zero", "chat", "none"] = "none"
    limit: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        if (self.world is None) == (self.path is None):
            raise ValueError("data needs exactly one of world and path")
        return self

    @property
    def source(self) -> str:
        """What messages call this data."""
        return f"world {self.world!r}" if self.path is None else self.path

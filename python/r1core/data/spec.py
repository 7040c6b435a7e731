"""A recipe's `data` table."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any, Literal

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


class DifficultyFilter(BaseModel):
    """Keeps the prompts that the policy sometimes solves; the others have no advantage to learn.

    Attributes:
        k: completions sampled per prompt.
        low: prompts are kept whose pass rate is above it; below 0 keeps those never solved.
        high: prompts are kept whose pass rate is below it; above 1 keeps those always solved.
        temperature: sampling temperature; everything else is as in the stage's sampling.
        pass_score: the score from which on a completion counts as solved, in units of the reward
            that says what is correct.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(default=8, ge=2)
    low: float = Field(default=0.0, lt=1)
    high: float = Field(default=1.0, gt=0)
    temperature: float = Field(default=1.0, gt=0)
    pass_score: float = 1.0

    @model_validator(mode="after")
    def _room(self) -> DifficultyFilter:
        if not self.low < self.high:
            raise ValueError(f"pass_rate.low must be below high; got {self.low} and {self.high}")
        return self


class DataSpec(BaseModel):
    """A recipe's `data` table.

    Attributes:
        world: name of an embedded world. Exactly one of world, path and stage is given.
        stage: name of an earlier stage that wrote a data set.
        path: a .jsonl, .json, .parquet or .csv file; a pattern of such files ("part-*.jsonl"); a
            directory of `<split>.<extension>` files, or any that `datasets` reads; or the name of
            a data set on the Hugging Face hub.
        split: which part; files named one by one or by a pattern have no parts and ignore it.
        prompt: the column that holds the question, text or chat messages; a dotted name reaches
            into a column ("extra.question").
        answer: the column that holds the gold; "" where the data has none.
        completion: the column that holds what to imitate, for supervised stages.
        columns: further columns by the names that rewards and `order_by` know: ours -> the data's.
            Columns that are not named here reach the rewards under their own names.
        name: the configuration of a hub dataset ("main" of openai/gsm8k), or of a world's problems
            ("general" of bilingual).
        revision: commit, tag or branch of a data set on the hub; None takes the newest.
        template: what the policy sees of a question: R1-Zero's plain-text template, a chat message,
            or the question as it is.
        limit: use the first so many rows.
        max_prompt_length: longest templated prompt kept, in tokens; longer ones are dropped, as
            are those that leave the completion no room in the context.
        eval_fraction: share of the prompts held out for evaluation, in (0, 1); chosen by a hash of
            the prompt, so rows may be added, dropped and reordered without a prompt changing sides.
        eval_size: how many different prompts to hold out instead; added rows may take the place of
            some of them.
        split_seed: names the hash. The recipe's seed is no part of it: runs that differ in their
            seed only, and all stages, hold out the same prompts.
        part: which side of that split to read.
        order: how training deals the questions out: shuffled anew each epoch, as given, or each
            epoch from easy to hard.
        order_by: the column of numbers that says how hard a question is; "-name" where high is
            easy. "pass_rate" is known to be that way round.
        pass_rate: train on the prompts only that the stage's first policy sometimes solves; adds
            the column "pass_rate".
        decontaminate: evaluation sets by name ("gsm8k") or files of questions; rows that share an
            n-gram with one of their questions are left out (paper, appendix D.1).
        decontaminate_ngram: words of such an n-gram (paper: 10).
    """

    model_config = ConfigDict(extra="forbid")

    world: str | None = None
    stage: str | None = None
    path: str | None = None
    split: str = "train"
    prompt: str = "prompt"
    answer: str = "answer"
    completion: str = "completion"
    columns: dict[str, str] = Field(default_factory=dict)
    name: str | None = None
    revision: str | None = None
    template: Literal["r1_zero", "chat", "none"] = "none"
    limit: int | None = Field(default=None, ge=1)
    max_prompt_length: int | None = Field(default=None, ge=1)
    eval_fraction: float | None = Field(default=None, gt=0, lt=1)
    eval_size: int | None = Field(default=None, ge=1)
    split_seed: int = 0
    part: Literal["train", "eval"] = "train"
    order: Literal["shuffled", "given", "easy_first"] = "shuffled"
    order_by: str | None = Field(default=None, min_length=1)
    pass_rate: DifficultyFilter | None = None
    decontaminate: list[str] = Field(default_factory=list)
    decontaminate_ngram: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> DataSpec:
        if sum(source is not None for source in (self.world, self.stage, self.path)) != 1:
            raise ValueError("data needs exactly one of world, path and stage")
        return self

    @model_validator(mode="after")
    def _one_split(self) -> DataSpec:
        if self.eval_fraction is not None and self.eval_size is not None:
            raise ValueError("data takes one of eval_fraction and eval_size")
        if self.world is not None and self.is_split:
            raise ValueError("eval_fraction and eval_size split files; a world has its own split")
        if self.part == "eval" and not self.is_split:
            raise ValueError("part = 'eval' needs eval_fraction or eval_size")
        return self

    @model_validator(mode="after")
    def _one_order(self) -> DataSpec:
        if (self.order == "easy_first") != (self.order_by is not None):
            raise ValueError("order = 'easy_first' and order_by, a column, go together")
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
        if self.path is not None:
            return self.path
        return f"world {self.world!r}" if self.world else f"stage {self.stage!r}"

    @property
    def is_split(self) -> bool:
        """Whether a part is held out."""
        return self.eval_fraction is not None or self.eval_size is not None

    def held_out(self, limit: int | None = None) -> DataSpec:
        """Return the data to evaluate on: what is held out, or else "eval" of a world, or "test".

        Args:
            limit: rows to read where it is not this data's other side.

        Raises:
            ValueError: files named one by one or by a pattern, nothing of which is held out.
        """
        plain: dict[str, Any] = {"order": "shuffled", "order_by": None, "pass_rate": None}
        plain["decontaminate"] = []  # which would leave nothing of the evaluation itself
        if self.is_split:
            return self.model_copy(update=plain | {"part": "eval"})
        path = Path(self.path or "").expanduser()
        if self.path and (path.is_file() or (glob.has_magic(self.path) and not path.is_dir())):
            raise ValueError(
                "evaluation_data must be given where data is a single file or a pattern, which has "
                'no splits: evaluation_data = { path = "test.jsonl", ... }, or data.eval_fraction '
                "= 0.05 to hold a part out"
            )
        split = "eval" if self.world else "test"
        return self.model_copy(update=plain | {"split": split, "limit": limit})

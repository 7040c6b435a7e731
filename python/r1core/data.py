"""Questions: where they come from, what the policy sees of them, in which order.

A template is applied here and nowhere else. `Questions` keeps both forms of a prompt: `prompts` is
what the policy continues, the column "prompt" is what rewards see.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r1core.data_sources import Row, read_rows
from r1core.types import Prompt
from r1core.worlds import World, load_world

R1_ZERO_TEMPLATE = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it. The assistant first thinks about the reasoning process in the mind and then provides the "
    "user with the answer. The reasoning process and answer are enclosed within "
    "<think>...</think> and <answer>...</answer> tags, respectively, i.e., "
    "<think> reasoning process here </think> <answer> answer here </answer>. "
    "User: {prompt}. Assistant:"
)
"""DeepSeek-R1, table 1: plain text for a base model, structure only, no hint about reflection."""

WORLD_QUESTIONS = 4096  # a world has no end; this many do where no limit is set


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


@dataclass(frozen=True)
class Questions:
    """The rows of a data set that fit the policy, ready to be sampled.

    Attributes:
        rows: column -> value; has "prompt" (untemplated) and, unless the data has none, "answer".
        prompts: one per row, templated.
        dropped: rows left out because their prompt is too long.
        fingerprint: SHA-256 of rows and templated prompts; two runs with the same saw the same.
    """

    rows: Sequence[Row]
    prompts: Sequence[Prompt]
    dropped: int
    fingerprint: str

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.rows)

    @functools.cached_property
    def column_names(self) -> list[str]:
        """Every column that some row has."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def batch(self, indices: Sequence[int]) -> tuple[list[Prompt], dict[str, list[Any]]]:
        """Return the templated prompts and the columns of some rows; a missing value is None."""
        rows = [self.rows[index] for index in indices]
        columns = {name: [row.get(name) for row in rows] for name in self.column_names}
        return [self.prompts[index] for index in indices], columns


def load_questions(
    spec: DataSpec,
    *,
    world: World | None = None,
    tokenizer: Any = None,
    max_prompt_tokens: int | None = None,
) -> Questions:
    """Read a data set, template its prompts and leave out those that are too long.

    Args:
        spec: what to read.
        world: taken in place of `load_world(spec.world)` where it has that name: a world with
            settings of its own.
        tokenizer: the policy's; needed by the template "chat" and to measure prompts.
        max_prompt_tokens: longest templated prompt kept, in tokens; None keeps all.

    Raises:
        ValueError: no such file, split or column, no rows, or a template that does not fit.
    """
    rows = read_world(spec, world) if spec.path is None else read_rows(spec)
    if not rows:
        raise ValueError(f"load_questions: data must have rows; {spec.source} has none")
    rows = [rename_columns(row, index, spec) for index, row in enumerate(rows)]
    apply = template_function(spec, tokenizer)
    prompts = [apply(row["prompt"], index) for index, row in enumerate(rows)]
    kept = list(range(len(rows)))
    if tokenizer is not None and max_prompt_tokens is not None:
        kept = [i for i in kept if prompt_length(prompts[i], tokenizer) <= max_prompt_tokens]
    kept_rows, kept_prompts = [rows[i] for i in kept], [prompts[i] for i in kept]
    return Questions(
        rows=kept_rows,
        prompts=kept_prompts,
        dropped=len(rows) - len(kept_rows),
        fingerprint=fingerprint(kept_rows, kept_prompts),
    )


def read_world(spec: DataSpec, world: World | None) -> list[Row]:
    """Return the first `limit` problems of a world's split."""
    assert spec.world is not None
    if world is None or world.name != spec.world:
        world = load_world(spec.world)
    return world.problems(spec.split, 0, spec.limit or WORLD_QUESTIONS)


def rename_columns(row: Row, index: int, spec: DataSpec) -> Row:
    """Return a row whose question is "prompt" and whose gold is "answer"; the rest is kept."""
    wanted = {"prompt": spec.prompt} | ({"answer": spec.answer} if spec.answer else {})
    for setting, column in wanted.items():
        if row.get(column) is None:
            raise ValueError(
                f"load_questions: {setting} must name a column of {spec.source}; got {column!r}, "
                f"row {index} has {', '.join(row)}"
            )
    prompt = row[spec.prompt]
    if not isinstance(prompt, (str, list)) or not prompt:
        raise ValueError(
            f"load_questions: prompts must be text or messages; row {index} of {spec.source} has "
            f"{prompt!r}"
        )
    rest = {name: value for name, value in row.items() if name not in wanted.values()}
    return rest | {name: row[column] for name, column in wanted.items()}


def template_function(spec: DataSpec, tokenizer: Any) -> Callable[[Any, int], Prompt]:
    """Return the function that turns a question, and its row number, into what the policy sees."""
    if spec.template == "chat" and getattr(tokenizer, "chat_template", None) is None:
        raise ValueError(
            "load_questions: template must be 'r1_zero' or 'none' for a tokenizer without a chat "
            "template; got 'chat'"
        )

    def apply(prompt: Any, index: int) -> Prompt:
        if spec.template == "chat" and isinstance(prompt, str):
            return [{"role": "user", "content": prompt}]
        if spec.template == "r1_zero":
            if not isinstance(prompt, str):
                raise ValueError(
                    "load_questions: template must be 'chat' or 'none' for prompts that are "
                    f"messages; got 'r1_zero' and messages in row {index} of {spec.source}"
                )
            return R1_ZERO_TEMPLATE.format(prompt=prompt)
        return prompt  # type: ignore[no-any-return]

    return apply


def prompt_length(prompt: Prompt, tokenizer: Any) -> int:
    """Return the length in tokens of a templated prompt."""
    if isinstance(prompt, str):
        return len(tokenizer(prompt)["input_ids"])
    if prompt and isinstance(prompt[0], Mapping):
        if tokenizer.chat_template is None:
            raise ValueError(
                "load_questions: prompts must be text for a tokenizer without a chat template; "
                "got messages"
            )
        return len(
            tokenizer.apply_chat_template(
                prompt, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        )
    return len(prompt)


def fingerprint(rows: Sequence[Row], prompts: Sequence[Prompt]) -> str:
    """Return the SHA-256 of rows and prompts, in order, as hexadecimal digits."""
    digest = hashlib.sha256()
    for row, prompt in zip(rows, prompts, strict=True):
        line = json.dumps([prompt, row], sort_keys=True, default=str)  # ASCII, whatever the text
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


class PromptSampler:
    """Deals out questions epoch by epoch, each exactly once per epoch.

    An epoch's order depends on the seed and its number alone, so three integers are the whole
    state. A step may reach from one epoch into the next.

    Attributes:
        epoch: number of the current epoch, from 0.
        index: questions of the epoch dealt out so far.
        next_uid: the next question's counter of the random generator; it never repeats.
    """

    def __init__(
        self, count: int, questions_per_step: int, seed: int, shuffle: bool = True
    ) -> None:
        """Start at epoch 0.

        Args:
            count: number of questions; >= 1.
            questions_per_step: P; >= 1.
            seed: names the sequence of orders.
            shuffle: False deals the questions out in their own order.

        Raises:
            ValueError: a number is not positive.
        """
        for name, value in (("count", count), ("questions_per_step", questions_per_step)):
            if value < 1:
                raise ValueError(f"PromptSampler: {name} must be >= 1; got {value}")
        self.count, self.questions_per_step = count, questions_per_step
        self.seed, self.shuffle = seed, shuffle
        self.epoch = self.index = self.next_uid = 0
        self._order: tuple[int, list[int]] = (-1, [])  # of one epoch, made when it begins

    def next(self) -> tuple[list[int], list[int]]:
        """Return the indices of the next P questions and their P uids."""
        indices = [self._deal() for _ in range(self.questions_per_step)]
        first, self.next_uid = self.next_uid, self.next_uid + len(indices)
        return indices, list(range(first, self.next_uid))

    def _deal(self) -> int:
        if self.index == self.count:
            self.epoch, self.index = self.epoch + 1, 0
        if self._order[0] != self.epoch:
            self._order = (self.epoch, self._permutation())
        self.index += 1
        return self._order[1][self.index - 1]

    def _permutation(self) -> list[int]:
        if not self.shuffle:
            return list(range(self.count))
        # Sorting by random() keys: of all that `random` offers, only random() is promised to give
        # the same numbers under every Python version.
        generator = random.Random(f"{self.seed}/{self.epoch}")
        return sorted(range(self.count), key=lambda _: generator.random())

    def state_dict(self) -> dict[str, int]:
        """Return what `load_state_dict` needs to go on from here."""
        return {"epoch": self.epoch, "index": self.index, "next_uid": self.next_uid}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from where `state_dict` was taken, on the same questions and seed.

        Raises:
            ValueError: the state is that of a larger data set.
        """
        if not 0 <= state["index"] <= self.count:
            raise ValueError(
                f"PromptSampler: index must be in [0, {self.count}]; got {state['index']}"
            )
        self.epoch, self.index = state["epoch"], state["index"]
        self.next_uid = state["next_uid"]

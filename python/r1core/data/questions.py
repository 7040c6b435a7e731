"""Reading a data set into questions that are ready to be sampled.

`Questions` keeps both forms of a prompt: `prompts` is what the policy continues, the column
"prompt" is what rewards see.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from r1core.data.columns import arrange_columns, own_names
from r1core.data.decontaminate import clean_rows
from r1core.data.sampler import difficulties
from r1core.data.sources import Row, Table, read_rows
from r1core.data.spec import DataSpec
from r1core.data.split import rows_of_part
from r1core.data.templates import prompt_lengths, template_function
from r1core.types import Prompt
from r1core.worlds import World, load_world

WORLD_QUESTIONS = 4096  # a world has no end; this many do where no limit is set


@dataclass(frozen=True)
class Questions:
    """The rows of a data set that fit the policy, ready to be sampled.

    Attributes:
        rows: column -> value; has "prompt" (untemplated) and, unless the data has none, "answer".
        prompts: one per row, templated.
        dropped: rows left out because their prompt is too long.
        fingerprint: SHA-256 of rows and templated prompts; two runs with the same saw the same.
        contaminated: rows left out because they share an n-gram with an evaluation.
        own_names: what the data calls "prompt" and "answer", where that is something else: rewards
            see these columns under both names.
    """

    rows: Sequence[Row]
    prompts: Sequence[Prompt]
    dropped: int
    fingerprint: str
    contaminated: int = 0
    own_names: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.rows)

    @functools.cached_property
    def column_names(self) -> list[str]:
        """Every column that some row has, and the data's own names."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return list(names | dict.fromkeys(self.own_names))

    def batch(self, indices: Sequence[int]) -> tuple[list[Prompt], dict[str, list[Any]]]:
        """Return the templated prompts and the columns of some rows; a missing value is None."""
        rows = [self.rows[index] for index in indices]
        columns = {
            name: [row.get(self.own_names.get(name, name)) for row in rows]
            for name in self.column_names
        }
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
    table = read_world(spec, world) if spec.path is None else read_rows(spec)
    if not table.rows:
        raise ValueError(f"load_questions: data must have rows; {spec.source} has none")
    rows = arrange_columns(table, spec)
    rows = [rows[index] for index in rows_of_part(rows, spec)]
    clean = clean_rows(rows, spec)
    contaminated, rows = len(rows) - len(clean), clean
    if not rows:
        raise ValueError(f"load_questions: decontaminate must leave rows of {spec.source}; got 0")
    if spec.order_by is not None and spec.pass_rate is None:
        difficulties(rows, spec.order_by)  # fails now rather than when training begins
    found = templated(rows, spec, tokenizer, max_prompt_tokens)
    return replace(found, contaminated=contaminated, own_names=own_names(table, rows, spec))


def templated(
    rows: Sequence[Row], spec: DataSpec, tokenizer: Any, max_prompt_tokens: int | None
) -> Questions:
    """Return rows that have a "prompt" as questions, without those that are too long."""
    apply = template_function(spec, tokenizer)
    prompts = [apply(row["prompt"], index) for index, row in enumerate(rows)]
    kept = short_prompts(prompts, spec, tokenizer, max_prompt_tokens)
    kept_rows, kept_prompts = [rows[i] for i in kept], [prompts[i] for i in kept]
    return Questions(
        rows=kept_rows,
        prompts=kept_prompts,
        dropped=len(rows) - len(kept_rows),
        fingerprint=fingerprint(kept_rows, kept_prompts),
    )


def read_world(spec: DataSpec, world: World | None) -> Table:
    """Return the first `limit` problems of a world's split."""
    assert spec.world is not None
    if world is None or world.name != spec.world:
        world = load_world(spec.world)
    rows = world.problems(spec.split, 0, spec.limit or WORLD_QUESTIONS, spec.name)
    return Table(rows, [(spec.source, len(rows))])


def short_prompts(
    prompts: Sequence[Prompt], spec: DataSpec, tokenizer: Any, max_prompt_tokens: int | None
) -> list[int]:
    """Return the indices of the prompts that keep the recipe's limit and the context's."""
    limits = [limit for limit in (spec.max_prompt_length, max_prompt_tokens) if limit is not None]
    if tokenizer is None and spec.max_prompt_length is not None:
        raise ValueError(
            f"load_questions: max_prompt_length needs a tokenizer to measure prompts; got "
            f"{spec.max_prompt_length} and none"
        )
    if tokenizer is None or not limits:
        return list(range(len(prompts)))
    lengths = prompt_lengths(prompts, tokenizer)
    return [index for index, length in enumerate(lengths) if length <= min(limits)]


def fingerprint(rows: Sequence[Row], prompts: Sequence[Prompt]) -> str:
    """Return the SHA-256 of rows and prompts, in order, as hexadecimal digits."""
    digest = hashlib.sha256()
    for row, prompt in zip(rows, prompts, strict=True):
        line = json.dumps([prompt, row], sort_keys=True, default=str)  # ASCII, whatever the text
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()

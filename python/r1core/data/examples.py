"""Reading a data set into examples to imitate: TRL's `prompt`/`completion` and `messages`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from r1core.data.decontaminate import clean_rows
from r1core.data.sources import Row, Table, read_rows
from r1core.data.spec import DataSpec
from r1core.data.split import rows_of_part
from r1core.data.templates import template_function
from r1core.notices import say_once
from r1core.types import Prompt


@dataclass(frozen=True)
class Example:
    """A prompt and what should follow it, as token ids; the stop token is the last and counts."""

    prompt: list[int]
    completion: list[int]

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.prompt) + len(self.completion)


class Encoder(Protocol):
    """What is needed of a policy."""

    tokenizer: Any

    def encode(self, prompts: Sequence[Prompt]) -> list[Tensor]:
        """Return each prompt's token ids."""

    def completion_prefix(self, prompt: Prompt) -> str:
        """Return the tag that the chat template opened for the completion, or nothing."""


def load_examples(
    spec: DataSpec, policy: Encoder, *, max_length: int | None = None
) -> tuple[list[Example], int]:
    """Read a data set, template its prompts and encode both sides.

    A row has `prompt` and `completion` (text, or messages whose last is the assistant's), or
    `messages`, of which every assistant's turn but a first is an example after all before it.
    How many rows have no such turn, and so no example, is logged.

    Args:
        spec: what to read; its `completion` names the column, its `prompt` and `template` are as
            for questions.
        policy: its tokenizer and chat template.
        max_length: longest example kept, in tokens; None keeps all.

    Returns:
        The examples, and how many were left out as too long.

    Raises:
        ValueError: no such file, a row without the columns, no row with an example, a policy
            without a tokenizer.
    """
    if policy.tokenizer is None or policy.tokenizer.eos_token_id is None:
        raise ValueError("load_examples: the policy must have a tokenizer with a stop token")
    table = read_rows(spec)
    if not table.rows:
        raise ValueError(f"load_examples: data must have rows; {spec.source} has none")
    for index, row in enumerate(table.rows):
        check_row(row, spec, table, index)
    asked = [{"prompt": row.get(spec.prompt) or row.get("messages")} for row in table.rows]
    rows = clean_rows([table.rows[index] for index in rows_of_part(asked, spec)], spec)
    apply = template_function(spec, policy.tokenizer)
    found = [list(turns(row, spec)) for row in rows]
    note_silent(found, spec)
    pairs = [
        (apply(prompt, index), completion)
        for index, row_turns in enumerate(found)
        for prompt, completion in row_turns
    ]
    prompts_P = policy.encode([prompt for prompt, _ in pairs])
    examples = []
    for (prompt, text), tokens in zip(pairs, prompts_P, strict=True):
        ids = policy.tokenizer(
            opened(text, policy.completion_prefix(prompt)), add_special_tokens=False
        )
        examples.append(
            Example(tokens.tolist(), [*ids["input_ids"], policy.tokenizer.eos_token_id])
        )
    kept = [x for x in examples if max_length is None or len(x) <= max_length]
    return kept, len(examples) - len(kept)


def check_row(row: Row, spec: DataSpec, table: Table, index: int) -> None:
    """Raise ValueError where a row has neither the columns nor messages."""
    if has_messages(row, spec):
        return
    if not row.get(spec.prompt) or not isinstance(completion_of(row, spec), str):
        raise ValueError(
            f"load_examples: a row must have {spec.prompt!r} and {spec.completion!r}, or messages; "
            f"{table.where(index)} has {', '.join(row)}"
        )


def turns(row: Row, spec: DataSpec) -> Iterator[tuple[Any, str]]:
    """Yield the prompts and completions of a row that `check_row` has passed."""
    if not has_messages(row, spec):
        yield row[spec.prompt], completion_of(row, spec)
        return
    messages = row["messages"]
    for k, message in enumerate(messages):
        if message["role"] == "assistant" and k > 0:
            yield list(messages[:k]), message["content"]


def has_messages(row: Row, spec: DataSpec) -> bool:
    """Tell whether a row's examples are in its messages."""
    return bool(row.get("messages")) and row.get(spec.completion) is None


def completion_of(row: Row, spec: DataSpec) -> Any:
    """Return what a row's completion says; of messages the last."""
    completion = row.get(spec.completion)
    if isinstance(completion, list) and completion:
        return completion[-1].get("content")
    return completion


def note_silent(found: Sequence[Sequence[Any]], spec: DataSpec) -> None:
    """Log how many rows have no example; raise ValueError where none has one."""
    silent = sum(not row_turns for row_turns in found)
    why = (
        f"messages must have an assistant's turn after another's; {silent} of {len(found)} rows of "
        f"{spec.source} have none"
    )
    if silent and silent == len(found):
        raise ValueError(f"load_examples: {why}")
    if silent:
        say_once(f"load_examples: {why} and are left out")


def opened(text: str, prefix: str) -> str:
    """Return a completion without the tag that the template has opened already."""
    tag = prefix.strip()
    return text.lstrip().removeprefix(tag).removeprefix("\n") if tag else text

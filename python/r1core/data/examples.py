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
    `messages`, of which every assistant's turn is an example after all before it.

    Args:
        spec: what to read; its `completion` names the column, its `prompt` and `template` are as
            for questions.
        policy: its tokenizer and chat template.
        max_length: longest example kept, in tokens; None keeps all.

    Returns:
        The examples, and how many were left out as too long.

    Raises:
        ValueError: no such file, a row without the columns, a policy without a tokenizer.
    """
    if policy.tokenizer is None or policy.tokenizer.eos_token_id is None:
        raise ValueError("load_examples: the policy must have a tokenizer with a stop token")
    table = read_rows(spec)
    if not table.rows:
        raise ValueError(f"load_examples: data must have rows; {spec.source} has none")
    asked = [{"prompt": row.get(spec.prompt) or row.get("messages")} for row in table.rows]
    rows = clean_rows([table.rows[index] for index in rows_of_part(asked, spec)], spec)
    apply = template_function(spec, policy.tokenizer)
    pairs = [
        (apply(prompt, index), completion)
        for index, row in enumerate(rows)
        for prompt, completion in turns(row, spec, table, index)
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


def turns(row: Row, spec: DataSpec, table: Table, index: int) -> Iterator[tuple[Any, str]]:
    """Yield a row's prompts and completions."""
    if (messages := row.get("messages")) and row.get(spec.completion) is None:
        for k, message in enumerate(messages):
            if message["role"] == "assistant" and k > 0:
                yield list(messages[:k]), message["content"]
        return
    prompt, completion = row.get(spec.prompt), row.get(spec.completion)
    if isinstance(completion, list) and completion:
        completion = completion[-1].get("content")
    if not prompt or not isinstance(completion, str):
        raise ValueError(
            f"load_examples: a row must have {spec.prompt!r} and {spec.completion!r}, or messages; "
            f"{table.where(index)} has {', '.join(row)}"
        )
    yield prompt, completion


def opened(text: str, prefix: str) -> str:
    """Return a completion without the tag that the template has opened already."""
    tag = prefix.strip()
    return text.lstrip().removeprefix(tag).removeprefix("\n") if tag else text

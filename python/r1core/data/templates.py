"""What the policy sees of a question. A template is applied here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1core.data.spec import DataSpec
from r1core.types import Prompt

R1_ZERO_TEMPLATE = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it. The assistant first thinks about the reasoning process in the mind and then provides the "
    "user with the answer. The reasoning process and answer are enclosed within "
    "<think>...</think> and <answer>...</answer> tags, respectively, i.e., "
    "<think> reasoning process here </think> <answer> answer here </answer>. "
    "User: {prompt}. Assistant:"
)
"""DeepSeek-R1, table 1: plain text for a base model, structure only, no hint about reflection."""


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


def prompt_lengths(prompts: Sequence[Prompt], tokenizer: Any) -> list[int]:
    """Return the lengths in tokens of templated prompts."""
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    encoded = iter(tokenizer(texts)["input_ids"] if texts else ())  # together: on all cores
    return [
        len(next(encoded)) if isinstance(prompt, str) else list_length(prompt, tokenizer)
        for prompt in prompts
    ]


def list_length(prompt: Sequence[Any], tokenizer: Any) -> int:
    """Return the length in tokens of a prompt of messages or of token ids."""
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

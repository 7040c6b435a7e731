"""Rewriters: who makes a trace readable for the cold start (DeepSeek-R1, B.3.2).

A rule (an embedded world's, or any function), a chat model behind an OpenAI-style endpoint, or a
local checkpoint. A model is asked twice, as in the paper: to rewrite the thinking, and to write a
summary of it for the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r1core.stages.chat_model import Ask, ChatModelConfig, load_chat_model, load_function
from r1core.stages.dataset import Rewrite, Row

REWRITE_PROMPT = """Rewrite the reasoning below so that it reads as one person's natural thinking:
in the first person ("I"), in the language of the question, in short paragraphs, first understanding
the question, then working and checking. Keep every step and every result; add none. Write nothing
but the reasoning.

Question:
{prompt}

Reasoning:
{thinking}"""

SUMMARY_PROMPT = """Summarise the reasoning below for the person who asked, in the language of the
question: the solution step by step, faithful to the reasoning and without new steps, formulas in
LaTeX, the final answer in \\boxed{{}}. Write nothing but the summary.

Question:
{prompt}

Reasoning:
{thinking}"""


def load_rewriter(config: ChatModelConfig) -> Rewrite:
    """Return the rewriter of a recipe.

    Raises:
        ValueError: there is no such function or checkpoint.
    """
    if config.function is not None:
        function = load_function(config.function)
        return lambda rows: [function(row, row["completion"]) for row in rows]
    ask = load_chat_model(config)
    return lambda rows: rewrite_by_model(rows, ask)


def rewrite_by_model(rows: Sequence[Row], ask: Ask) -> list[str | None]:
    """Have a chat model rewrite the thinking of rows and summarise it."""
    thinking = [thinking_of(row["completion"]) for row in rows]
    asked = [text_of_prompt(row["prompt"]) for row in rows]
    pairs = list(zip(asked, thinking, strict=True))
    thoughts = ask([REWRITE_PROMPT.format(prompt=p, thinking=t) for p, t in pairs])
    summaries = ask([SUMMARY_PROMPT.format(prompt=p, thinking=t) for p, t in pairs])
    return [
        f"<think>\n{thought.strip()}\n</think>\n{summary.strip()}" if thought and summary else None
        for thought, summary in zip(thoughts, summaries, strict=True)
    ]


def thinking_of(completion: str) -> str:
    """Return what stands in a completion's think tags; without them, all of it."""
    return completion.partition("</think>")[0].replace("<think>", "").strip()


def text_of_prompt(prompt: Any) -> str:
    """Return a prompt as text; of messages the last."""
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])

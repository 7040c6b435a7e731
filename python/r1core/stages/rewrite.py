"""Rewriters: who makes a trace readable for the cold start (DeepSeek-R1, B.3.2).

A rule (an embedded world's, or any function), a chat model behind an OpenAI-style endpoint, or a
local checkpoint. A model is asked twice, as in the paper: to rewrite the thinking, and to write a
summary of it for the reader.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from r1core.policy import Policy
from r1core.sampling import sample_groups
from r1core.stages.dataset import Rewrite, Row
from r1core.types import SamplingParams

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

Ask = Callable[[Sequence[str]], list[str | None]]
"""Answers some prompts; None where an answer could not be had."""


class RewriterConfig(BaseModel):
    """Who rewrites: exactly one of function, endpoint and path.

    Attributes:
        function: `package.module:function`: f(row, completion) -> text, or None to drop the row.
        endpoint: base address of an OpenAI-style server ("http://localhost:8000/v1").
        model: the model's name there.
        api_key_variable: environment variable that holds the key, if one is needed.
        path: directory or hub name of a local chat model.
        max_new_tokens: longest answer, in tokens.
        temperature: sampling temperature.
        workers: requests to an endpoint at a time.
        timeout_seconds: of one request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    function: str | None = Field(None, pattern=r"^[\w.]+:[\w.]+$")
    endpoint: str | None = None
    model: str | None = None
    api_key_variable: str = "OPENAI_API_KEY"
    path: str | None = None
    max_new_tokens: int = Field(2048, ge=1)
    temperature: float = Field(0.6, gt=0)
    workers: int = Field(8, ge=1)
    timeout_seconds: float = Field(120.0, gt=0)

    @model_validator(mode="after")
    def _one_source(self) -> RewriterConfig:
        sources = (self.function, self.endpoint, self.path)
        if sum(source is not None for source in sources) != 1:
            raise ValueError("rewriter needs exactly one of function, endpoint and path")
        if self.endpoint is not None and self.model is None:
            raise ValueError("rewriter.model must name the model behind the endpoint")
        return self


def load_rewriter(config: RewriterConfig) -> Rewrite:
    """Return the rewriter of a recipe.

    Raises:
        ValueError: there is no such function or checkpoint.
    """
    if config.function is not None:
        function = load_function(config.function)
        return lambda rows: [function(row, row["completion"]) for row in rows]
    ask = endpoint(config) if config.endpoint is not None else local_model(config)
    return lambda rows: rewrite_by_model(rows, ask)


def load_function(path: str) -> Callable[..., Any]:
    """Return the function that "package.module:function" names.

    Raises:
        ValueError: there is none.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path!r} must name a function: {error}") from error
    return found  # type: ignore[no-any-return]


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


def endpoint(config: RewriterConfig) -> Ask:
    """Return what asks a server; a request that fails twice is an answer that could not be had."""
    from huggingface_hub import InferenceClient  # takes a second to import

    client = InferenceClient(
        base_url=config.endpoint,
        api_key=os.environ.get(config.api_key_variable, "none"),
        timeout=config.timeout_seconds,
    )

    def one(prompt: str) -> str | None:
        for _ in range(2):
            try:
                answer = client.chat_completion(
                    [{"role": "user", "content": prompt}],
                    model=config.model,
                    max_tokens=config.max_new_tokens,
                    temperature=config.temperature,
                )
                return answer.choices[0].message.content
            except (OSError, ValueError):  # requests' errors are OSErrors
                continue
        return None

    def ask(prompts: Sequence[str]) -> list[str | None]:
        with ThreadPoolExecutor(config.workers) as pool:
            return list(pool.map(one, prompts))

    return ask


def local_model(config: RewriterConfig) -> Ask:
    """Return what asks a local checkpoint."""
    assert config.path is not None
    policy = Policy.from_pretrained(config.path)
    sampling = SamplingParams(
        n=1, temperature=config.temperature, max_new_tokens=config.max_new_tokens
    )

    def ask(prompts: Sequence[str]) -> list[str | None]:
        rollouts = sample_groups(
            policy, [[{"role": "user", "content": prompt}] for prompt in prompts], sampling
        )
        finished = [reason == "stop" for reason in rollouts.finish_reasons]
        return [
            text if done else None for text, done in zip(rollouts.texts(), finished, strict=True)
        ]

    return ask

"""Models that are asked: who rewrites traces and who judges answers.

A rule (any function), a chat model behind an OpenAI-style endpoint, or a local checkpoint.
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
from r1core.types import SamplingParams

Ask = Callable[[Sequence[str]], list[str | None]]
"""Answers some prompts; None where an answer could not be had."""


class ChatModelConfig(BaseModel):
    """Who is asked: exactly one of function, endpoint and path.

    Attributes:
        function: `package.module:function`, a rule in place of a model.
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
    def _one_source(self) -> ChatModelConfig:
        sources = (self.function, self.endpoint, self.path)
        if sum(source is not None for source in sources) != 1:
            raise ValueError("needs exactly one of function, endpoint and path")
        if self.endpoint is not None and self.model is None:
            raise ValueError("model must name the model behind the endpoint")
        return self


def load_chat_model(config: ChatModelConfig) -> Ask:
    """Return what asks the model of an endpoint or a path."""
    return endpoint(config) if config.endpoint is not None else local_model(config)


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


def endpoint(config: ChatModelConfig) -> Ask:
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


def local_model(config: ChatModelConfig) -> Ask:
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

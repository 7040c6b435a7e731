"""Models that are asked: who rewrites traces and who judges answers.

A rule (any function), a chat model behind an OpenAI-style endpoint, or a local checkpoint.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

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
        attempts: times that a request is made while the server fails.
        pause_seconds: before the second attempt; it doubles with each.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    function: str | None = Field(None, pattern=r"^[\w.]+:[\w.]+$")
    endpoint: str | None = Field(None, pattern=r"^https?://[^/\s]")
    model: str | None = None
    api_key_variable: str = "OPENAI_API_KEY"
    path: str | None = None
    max_new_tokens: int = Field(2048, ge=1)
    temperature: float = Field(0.6, gt=0)
    workers: int = Field(8, ge=1)
    timeout_seconds: float = Field(120.0, gt=0)
    attempts: int = Field(4, ge=1)
    pause_seconds: float = Field(1.0, ge=0)

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
    """Return what asks a server.

    A request that the server is too busy for is made again; one that brings nothing usable is an
    answer that could not be had. An address, key or model that is wrong is an error: every row
    would be lost.

    Raises:
        ConnectionError: the server cannot be reached, or refuses.
        ValueError: the key can stand in no header.
    """
    import requests  # here: what asks no server need not wait for it

    key = os.environ.get(config.api_key_variable, "none").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"{config.api_key_variable} must hold a key of printable ASCII")

    def authorize(request: Any) -> Any:  # goes before what a .netrc says
        request.headers["Authorization"] = f"Bearer {key}"
        return request

    def post(prompt: str) -> str | None:
        response = requests.post(
            completions_url(config),
            json={
                "model": config.model,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": config.max_new_tokens,
                "temperature": config.temperature,
            },
            auth=authorize,
            timeout=config.timeout_seconds,
        )
        response.raise_for_status()
        return finished_text(response.content)

    def one(prompt: str) -> str | None:
        for attempt in range(1, config.attempts + 1):
            try:
                return post(prompt)
            except requests.RequestException as error:
                raise_if_hopeless(error, config, last=attempt == config.attempts)
            time.sleep(config.pause_seconds * 2 ** (attempt - 1))
        return None

    def ask(prompts: Sequence[str]) -> list[str | None]:
        with ThreadPoolExecutor(config.workers) as pool:
            return list(pool.map(one, prompts))

    return ask


def completions_url(config: ChatModelConfig) -> str:
    """Return where chat completions are asked for; a bare host stands for its `/v1`."""
    parts = urlsplit(config.endpoint or "")
    path = parts.path.rstrip("/") or "/v1"
    if not path.endswith("/chat/completions"):
        path += "/chat/completions"
    return parts._replace(path=path).geturl()


def finished_text(answer: bytes) -> str | None:
    """Return the text of a chat completion (OpenAI's JSON); None where it is cut off, or none."""
    try:
        choice = json.loads(answer)["choices"][0]
        text = choice["message"]["content"]
        cut = choice.get("finish_reason") == "length"
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return text if isinstance(text, str) and text and not cut else None


def raise_if_hopeless(error: Exception, config: ChatModelConfig, *, last: bool) -> None:
    """Raise ConnectionError for what asking again, or asking for other rows, cannot mend."""
    from requests.exceptions import InvalidURL, ProxyError, SSLError
    from urllib3.exceptions import NewConnectionError

    status = getattr(getattr(error, "response", None), "status_code", None)
    where = f"the chat model at {config.endpoint}"
    if status in (401, 403):
        raise ConnectionError(
            f"{where} answers {status}: set its key in {config.api_key_variable}"
        ) from None
    if status is not None and 400 <= status < 500 and status not in (408, 429):
        raise ConnectionError(
            f"{where} answers {status}: check its address and that it serves model {config.model!r}"
        ) from None
    cause = getattr(error.args[0] if error.args else None, "reason", None)
    nowhere = isinstance(error, (InvalidURL, ProxyError, SSLError))
    if last and (nowhere or isinstance(cause, NewConnectionError)):
        raise ConnectionError(
            f"{where} cannot be reached; start it, or name another, and run the same command again"
        ) from None


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

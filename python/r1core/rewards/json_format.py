"""Is the answer valid JSON?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from r1core.rewards.functions import Completion, text_of

FENCE = "```"


def json_format_reward(
    prompts: Sequence[Any],
    completions: Sequence[Completion],
    *,
    keys: Sequence[str] = (),
    **columns: Any,
) -> list[float]:
    """Score 1 where the answer is valid JSON, else 0.

    Args:
        prompts: not used.
        completions: N replies; see `json_text` for the part that must be JSON.
        keys: the JSON must be an object with these; others may be there.
        columns: not used.

    Raises:
        ValueError: `keys` is a text.

    Note:
        JSON is RFC 8259's: no NaN or Infinity, no comments, nothing before or after. Values nested
        deeper than Python's parser goes, about 1000 levels, score 0.
    """
    if isinstance(keys, str):
        raise ValueError(f"json_format_reward: keys must be a list of names; got {keys!r}")
    return [float(is_json(json_text(text_of(completion)), keys)) for completion in completions]


def json_text(text: str) -> str:
    """Return the part of a completion that should be JSON.

    What comes after the last </think> (nothing, where a <think> is never closed); in it the body of
    the last <answer>; in that the last block fenced as ```json or ```.
    """
    if "<think>" in text and "</think>" not in text:
        return ""
    text = text.rpartition("</think>")[2]
    body, closed, _ = text.rpartition("</answer>")
    if closed and "<answer>" in body:
        text = body.rpartition("<answer>")[2]
    return fenced(text).strip(" \t\r\n")


def fenced(text: str) -> str:
    """Return the last closed block of a text that is fenced as JSON or as nothing, or the text."""
    parts = text.split(FENCE)
    for i in range((len(parts) - 1) // 2 * 2 - 1, 0, -2):  # odd parts are inside
        label, newline, body = parts[i].partition("\n")
        if newline and label.strip().lower() in ("", "json"):
            return body
    return text


def is_json(text: str, keys: Sequence[str] = ()) -> bool:
    """Tell whether a text is one JSON value; with `keys`, an object that has them all."""
    try:
        # Numbers stay text: a digit string of any length is valid, and costs nothing.
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return not keys or (isinstance(value, dict) and all(key in value for key in keys))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"is_json: JSON has no {constant}")

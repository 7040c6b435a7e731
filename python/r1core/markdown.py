"""Writing Markdown: tables, and text of any origin that must not be read as markup."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1core.readable import shorten, visible


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Return a Markdown table; `align` has l or r for each column."""
    rule = ["---:" if side == "r" else ":---" for side in align[: len(header)]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def title(name: str, unit: str) -> str:
    """Return a column's title with its unit."""
    return f"{name} ({unit})" if unit else name


def plain(value: Any) -> str:
    """Return a value as one line of text that Markdown does not read as anything else."""
    text = " ".join(visible(str(value)).split())
    return re.sub(r"([\\`*\[\]<>|#$]|(?<!\w)_|_(?!\w))", r"\\\1", shorten(text, 200))


def fence(text: str, language: str = "") -> str:
    """Return text as a code block that nothing in it can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{visible(text).rstrip()}\n{marks}"


def picture(path: Path, caption: str) -> list[str]:
    """Return a picture that lies beside the report, with its caption."""
    return [f"![{caption}]({path.name})", f"*{caption}*"]

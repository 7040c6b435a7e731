"""What a person reads in the terminal: completions, evaluations, before and after.

A completion is data: rich's markup and control characters in it are shown, never obeyed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import rich
from rich import box
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from r1core.findings import Finding, Severity
from r1core.progress import StageProgress, progress_callback
from r1core.readable import shorten, visible
from r1core.report_data import SUMMARY, headline

__all__ = [
    "StageProgress",
    "print_completions",
    "print_evaluation",
    "print_findings",
    "print_summary",
    "progress_callback",
]

TAG = r"</?[A-Za-z_]+>"

SEVERITY_STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def print_completions(
    title: str, rows: Sequence[Mapping[str, Any]], limit: int = 4, console: Console | None = None
) -> None:
    """Print completions one below the other, tags in colour, with answer and verdict.

    Args:
        title: heading of the panel.
        rows: each with prompt and completion, and optionally answer and accuracy (1 right, 0 wrong,
            None or NaN not graded).
        limit: rows shown, from the first.
        console: where to print; None takes rich's shared console.
    """
    blocks: list[Text] = []
    for row in rows[:limit]:
        blocks += [Text(), *completion_lines(row)] if blocks else completion_lines(row)
    if len(rows) > limit:
        blocks += [Text(), Text(f"and {len(rows) - limit} more", style="dim")]
    panel = Panel(
        Group(*blocks), title=Text(title, style="bold"), title_align="left", padding=(0, 1)
    )
    (console or rich.get_console()).print(panel)


def completion_lines(row: Mapping[str, Any]) -> list[Text]:
    """Return one row as styled text; nothing in it is read as markup."""
    completion = Text(shorten(visible(str(row.get("completion", "")))))
    completion.highlight_regex(TAG, "bold magenta")
    lines = [Text(shorten(visible(prompt_text(row.get("prompt", "")))), style="cyan"), completion]
    verdict = verdict_text(row.get("accuracy"))
    if row.get("answer") is not None:
        expected = Text(f"expected {visible(str(row['answer']))}", style="dim")
        lines.append(Text.assemble(verdict, "  ", expected) if verdict else expected)
    elif verdict:
        lines.append(verdict)
    return lines


def prompt_text(prompt: Any) -> str:
    """Return a prompt as text; chat messages as "role: content" lines."""
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], Mapping):
        return "\n".join(f"{turn.get('role')}: {turn.get('content')}" for turn in prompt)
    return str(prompt)


def verdict_text(accuracy: Any) -> Text | None:
    """Return right, wrong, a partial score, or nothing where nothing was graded."""
    if accuracy is None or math.isnan(accuracy):
        return None
    if accuracy in (0, 1):
        return Text("✓ right", style="green") if accuracy else Text("✗ wrong", style="red")
    return Text(f"score {accuracy:.2f}", style="yellow")


def print_evaluation(
    title: str, metrics: Mapping[str, float], console: Console | None = None
) -> None:
    """Print an evaluation's headline figures on one line."""
    values = headline(metrics)
    parts = [f"{name} {form.format(values[name])}" for name, form, _ in SUMMARY if name in values]
    line = Text.assemble((title, "bold"), "  ", " · ".join(parts) or "no metrics")
    (console or rich.get_console()).print(line)


def print_summary(
    before: Mapping[str, float], after: Mapping[str, float], console: Console | None = None
) -> None:
    """Print a small table of what training changed; a figure that one side lacks shows a dash.

    Args:
        before: metrics of the first evaluation, `eval/...`.
        after: metrics of the last one.
        console: where to print; None takes rich's shared console.
    """
    table = Table("", "before", "after", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    old, new = headline(before), headline(after)
    for name, form, unit in SUMMARY:
        if name in old or name in new:
            cells = [form.format(side[name]) if name in side else "–" for side in (old, new)]
            label = Text.assemble(name, (f"  {unit}", "dim"))
            table.add_row(label, cells[0], Text(cells[1], style="bold"))
    (console or rich.get_console()).print(table)


def print_findings(stage: str, findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print what is wrong with a run: each finding's place, cause and cure.

    Args:
        stage: the stage's name.
        findings: of `Watch.see` or `diagnose_run`.
        console: where to print; None takes rich's shared console.
    """
    for finding in findings:
        place = f"  stage {stage}, step {finding.step}"
        lines = Text.assemble(
            (f"{finding.severity:<8}", SEVERITY_STYLES[finding.severity]),
            (f"{finding.name}{place}", "bold"),
            ("\n  cause ", "dim"),
            visible(finding.cause),  # it may quote a completion
            ("\n  cure  ", "dim"),
            finding.cure,
        )
        (console or rich.get_console()).print(lines)

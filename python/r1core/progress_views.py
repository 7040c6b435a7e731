"""Where progress is drawn: a bar in a terminal, lines in a log, or a notebook cell.

Which of the three is decided by where the console writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

SECONDS_BETWEEN_LINES = 30.0
SECONDS_BETWEEN_REDRAWS = 0.2  # of a notebook cell; a terminal bar limits itself


class View(Protocol):
    """One way to show a line of progress."""

    def show(self, done: int, total: int | None, text: str, left: str) -> None:
        """Show the state: `text` says how it goes, `left` the time left, if known."""

    def close(self) -> None:
        """Show the last state, if it was not, and end."""


class TwoLines(Progress):
    """A bar, and below it how the work goes: on one line they would not fit 80 columns."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield what is drawn."""
        yield self.make_tasks_table(self.tasks)
        for task in self.tasks:
            yield Text(task.fields["text"], style="dim", no_wrap=True, overflow="ellipsis")


class BarView:
    """A live bar at the bottom of a terminal; a transient one disappears when it is closed."""

    def __init__(self, console: Console, title: str, transient: bool) -> None:
        self._title = title
        self._progress = TwoLines(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[left]}", markup=False),
            console=console,
            expand=True,
            transient=transient,
        )

    def show(self, done: int, total: int | None, text: str, left: str) -> None:
        """Redraw the bar; the first call puts it up."""
        count = count_text(done, total)
        if not self._progress.tasks:
            self._progress.start()
            self._progress.add_task(self._title, total=total, count=count, text=text, left=left)
        fields: dict[str, Any] = {"count": count, "text": text, "left": left}
        self._progress.update(self._progress.task_ids[0], completed=done, total=total, **fields)

    def close(self) -> None:
        """Give the terminal back."""
        self._progress.stop()


class LineView:
    """Plain lines for logs: the first, the last, every so many steps, and after a long silence."""

    def __init__(self, console: Console, title: str, every: float) -> None:
        self._console, self._title, self._every = console, title, every
        self._printed: int | None = None
        self._time = 0.0
        self._pending = ""

    def show(self, done: int, total: int | None, text: str, left: str) -> None:
        """Print the line if it is due; keep it for `close` otherwise."""
        details = " · ".join(part for part in (text, left) if part)
        self._pending = f"{self._title} {count_text(done, total)}{': ' if details else ''}{details}"
        silent = time.monotonic() - self._time >= SECONDS_BETWEEN_LINES
        if self._printed is None or done == total or silent or done - self._printed >= self._every:
            self._printed, self._time = done, time.monotonic()
            self.close()

    def close(self) -> None:
        """Print the last line if it was not."""
        if self._pending:
            self._console.print(self._pending, markup=False, highlight=False, soft_wrap=True)
            self._pending = ""


class CellView:
    """One line in a notebook cell, redrawn in place; needs no widgets."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._handle: Any = None
        self._time = 0.0
        self._pending: dict[str, str] | None = None

    def show(self, done: int, total: int | None, text: str, left: str) -> None:
        """Redraw the line, a few times a second at most."""
        filled = round(20 * done / total) if total else 0
        bar = f"{'█' * filled}{'░' * (20 - filled)}" if total else ""
        parts = (self._title, bar, count_text(done, total), text, left)
        self._pending = {"text/plain": "  ".join(part for part in parts if part)}
        if done == total or time.monotonic() - self._time >= SECONDS_BETWEEN_REDRAWS:
            self._time = time.monotonic()
            self.close()

    def close(self) -> None:
        """Draw the last state if it was not."""
        if self._pending is None:
            return
        if self._handle is None:
            import IPython.display  # there is no notebook without it

            display: Any = IPython.display.display  # untyped
            self._handle = display(self._pending, raw=True, display_id=True)
        else:
            self._handle.update(self._pending, raw=True)
        self._pending = None


def open_view(console: Console, title: str, *, lines_every: float, transient: bool = False) -> View:
    """Choose how to show progress by where the console writes.

    Args:
        console: where to show it.
        title: what is in progress.
        lines_every: steps between the lines of a log.
        transient: a terminal bar disappears when the work is done.
    """
    if console.is_jupyter:
        return CellView(title)
    if console.is_terminal:
        return BarView(console, title, transient)
    return LineView(console, title, lines_every)


def count_text(done: int, total: int | None) -> str:
    """Return "12/60", or "12" where the total is unknown."""
    return f"{done}/{total}" if total else str(done)

"""Live progress of stages and other long work; `progress_views` draws it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import rich
from rich.console import Console

from r1core.progress_views import open_view
from r1core.readable import clock_text, short_number

SHOWN_METRICS = (
    ("reward", ("reward",), "reward {:.2f}"),
    ("accuracy", ("rewards/accuracy/mean", "rewards/accuracy_reward/mean"), "accuracy {:.2f}"),
    ("length", ("completions/mean_length",), "length {:.0f}"),
)
"""Metrics on the line: name, where to find it (first match wins), how to write it."""

SECONDS_BEFORE_SHOWN = 1.0


class StageProgress:
    """One stage's progress: step, reward, accuracy, mean length, tokens/s, time left.

    A context manager. In a terminal a bar stays in place while other output scrolls above it; where
    output is not a terminal, a line appears at the first, the last and every tenth step.

    Args:
        stage: the stage's name.
        total_steps: steps of the whole stage; None if unknown.
        console: where to show it; None takes rich's shared console.
    """

    def __init__(
        self, stage: str, total_steps: int | None = None, console: Console | None = None
    ) -> None:
        self._view = open_view(console or rich.get_console(), stage, lines_every=10)
        self._eta = TimeLeft(total_steps)
        self._metrics: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._eta.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._view.close()

    def update(self, step: int, metrics: Mapping[str, float], **notes: Any) -> None:
        """Show a step; metrics that it lacks keep their last value.

        Args:
            step: steps done so far; a resumed run may begin anywhere.
            metrics: TRL's names, as a stage yields them; `eval/pass@1` is shown once it is known.
            notes: further `name value` pairs, shown as they are.
        """
        self._metrics.update(metrics)
        text = " · ".join([*metric_parts(self._metrics), *note_parts(notes)])
        self._view.show(step, self._eta.total, text, self._eta.text(step))


class LongOperation:
    """Progress of work that reports `done` of `total`; made by `progress_callback`.

    Nothing appears in the first second, so that work which turns out to be short stays silent.
    """

    def __init__(self, title: str, total: int | None, console: Console) -> None:
        self._view = open_view(console, title, lines_every=math.inf, transient=True)
        self._eta = TimeLeft(total, first=0)

    def __enter__(self) -> Self:
        self._eta.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._view.close()

    def __call__(
        self,
        done: int,
        total: int | None = None,
        metrics: Mapping[str, float] | None = None,
        **notes: Any,
    ) -> None:
        """Report progress: `done` of `total` (None keeps what is known) and named values."""
        self._eta.total = total or self._eta.total
        left = self._eta.text(done)
        if self._eta.elapsed() >= SECONDS_BEFORE_SHOWN:
            text = " · ".join([*note_parts(metrics or {}), *note_parts(notes)])
            self._view.show(done, self._eta.total, text, left)


def progress_callback(
    title: str, total: int | None = None, console: Console | None = None
) -> LongOperation:
    """Return a context manager whose value is a callback `(done, total=None, **notes)`.

    with progress_callback("pretraining the base") as on_progress:
        base_policy(world, on_progress=on_progress)
    """
    return LongOperation(title, total, console or rich.get_console())


class TimeLeft:
    """Estimates the time left from the steps done since the start.

    Args:
        total: steps in all; None if unknown.
        first: steps done at the start; None takes them from the first step seen, one before it.
    """

    def __init__(self, total: int | None, first: int | None = None) -> None:
        self.total = total
        self._first = first
        self.start()

    def start(self) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._start

    def text(self, done: int) -> str:
        """Return "0:45 left", or nothing where it cannot be known."""
        if self._first is None:
            self._first = max(done - 1, 0)
            if done == 0:  # what came before step 0 (an evaluation, say) is no step's time
                self.start()
        steps = done - self._first
        if self.total is None or steps <= 0 or done >= self.total:
            return ""
        return f"{clock_text(self.elapsed() / steps * (self.total - done))} left"


def metric_parts(metrics: Mapping[str, float]) -> list[str]:
    """Return the shown metrics as texts; what is missing or NaN is left out."""
    parts = []
    for _, sources, form in SHOWN_METRICS:
        found = [metrics[source] for source in sources if source in metrics]
        if found and math.isfinite(found[0]):
            parts.append(form.format(found[0]))
    if math.isfinite(speed := metrics.get("tokens_per_second", math.nan)):
        parts.append(f"{short_number(speed)} tok/s")
    if math.isfinite(passed := metrics.get("eval/pass@1", math.nan)):
        name = "mean reward" if "eval/mean_reward" in metrics else "pass@1"
        parts.append(f"{name} {passed:.2f}")
    return parts


def note_parts(notes: Mapping[str, Any]) -> list[str]:
    """Return named values as texts, numbers with three digits."""
    return [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in notes.items()
    ]

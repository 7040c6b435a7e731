"""Trackers: TensorBoard, Weights & Biases, or one's own, told what the run directory is told.

In a recipe: `trackers = ["tensorboard", "wandb", "my_package.module:MyTracker"]`. One's own is

    class MyTracker(r1core.tracking.Tracker):
        def __init__(self, directory, config): ...
        def log(self, stage, step, metrics): ...

Metrics are named `<stage>/<metric>` on one axis of steps, on which stages follow one another. A
tracker that raises is told of once and never stops a run.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rich
from rich.text import Text

from r1core.manifest import write_atomic
from r1core.tracking import Columns, Tracker, read_metrics, to_cell

Config = Mapping[str, Any]
Factory = Callable[[Path, Config], Tracker]

ROWS_SHOWN = 32
"""Completions of a step that a tracker shows; the Parquet files have all."""

CHARACTERS_SHOWN = 1000
"""Of a completion in TensorBoard, which loads whole tables."""

WANDB_ID = "wandb-run-id"
"""File of the run directory with the W&B run that it is."""


class TrackerError(ValueError):
    """A tracker that cannot be opened; the message says what to install or to change."""


def check_trackers(names: Sequence[str]) -> None:
    """Raise TrackerError where a tracker has no such name or lacks its package."""
    for name in names:
        find_factory(name)


def open_trackers(names: Sequence[str], directory: Path | str, config: Config) -> list[Tracker]:
    """Open the trackers of a run, new or gone on with.

    Args:
        names: "tensorboard", "wandb" or "package.module:Class", called with directory and config.
        directory: the run directory, its metrics already rewound to where the run goes on.
        config: the settings to show: the recipe.

    Raises:
        TrackerError: no such name, a missing package, or a tracker that refuses to begin.
    """
    factories = [(name, find_factory(name)) for name in names]
    trackers: list[Tracker] = []
    for name, factory in factories:
        try:
            trackers.append(Guarded(name, factory(Path(directory), config)))
        except Exception as error:
            for opened in trackers:
                opened.close()
            hint = "; WANDB_MODE=offline needs no account" if name == "wandb" else ""
            raise TrackerError(f"open_trackers: cannot open {name!r}: {error}{hint}") from error
    return trackers


def find_factory(name: str) -> Factory:
    """Return what opens a tracker."""
    if name in BUILT_IN:
        if importlib.util.find_spec(name) is None:
            raise TrackerError(f"tracker {name!r} needs its package: pip install r1core[track]")
        return BUILT_IN[name]
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise TrackerError(
            f"trackers must be {', '.join(BUILT_IN)} or 'package.module:Class'; got {name!r}"
        )
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise TrackerError(f"tracker {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise TrackerError(f"tracker {name!r} must be a class or function; got {found!r}")
    return lambda directory, config: found(directory=directory, config=config)


class Guarded(Tracker):
    """A tracker whose errors do not stop the run: the first is shown, training goes on."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self._name, self._tracker, self._failed = name, tracker, False

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of one step."""
        self._try("log", stage, step, metrics)

    def log_completions(self, stage: str, step: int, columns: Columns, kind: str) -> None:
        """Record a step's completions."""
        self._try("log_completions", stage, step, columns, kind)

    def close(self) -> None:
        """Close the tracker."""
        self._try("close")

    def _try(self, method: str, *arguments: Any) -> None:
        try:
            if call := getattr(self._tracker, method, None):  # a user's may have `log` alone
                call(*arguments)
        except Exception as error:
            if not self._failed:
                kind = type(error).__name__
                warning = f"Tracker {self._name} failed ({kind}: {error}); training goes on"
                rich.print(Text(warning, "yellow"))
            self._failed = True


class StepAxis:
    """One axis of steps for all stages: a stage begins where the one before it ended.

    Args:
        records: what the run has logged so far, `stage` and `step` of each.

    Attributes:
        end: last step of the axis so far; None before the first.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._starts: dict[str, int] = {}
        self.end: int | None = None
        for record in records:
            self.at(record["stage"], record["step"])

    def at(self, stage: str, step: int) -> int:
        """Return where a stage's step lies."""
        start = self._starts.setdefault(stage, self.end or 0)
        self.end = max(self.end or 0, start + step)
        return start + step


class TensorBoard(Tracker):
    """Writes `tensorboard/` in the run directory.

    A run that is gone on with hides what was logged after the step that it goes on from.
    """

    def __init__(self, directory: Path, config: Config) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = directory / "tensorboard"
        resumed = folder.is_dir() and any(folder.iterdir())
        self._axis = StepAxis(read_metrics(directory))
        end = self._axis.end
        hidden = (0 if end is None else end + 1) if resumed else None
        self._writer = SummaryWriter(str(folder), purge_step=hidden)
        settings = json.dumps(config, indent=2, default=str)
        self._writer.add_text("recipe", f"```\n{settings}\n```", 0 if end is None else end)

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Write scalars; flushed at once, since a killed run goes on from its checkpoint."""
        at = self._axis.at(stage, step)
        for name, value in metrics.items():
            self._writer.add_scalar(f"{stage}/{name}", float(value), at)
        self._writer.flush()

    def log_completions(self, stage: str, step: int, columns: Columns, kind: str) -> None:
        """Write the first completions as a table of text."""
        table = markdown_table(columns)
        self._writer.add_text(f"{stage}/{kind}", table, self._axis.at(stage, step))

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WandB(Tracker):
    """Logs to Weights & Biases, as one run also after a resume.

    WANDB_MODE, WANDB_PROJECT (else "r1core"), WANDB_ENTITY and so on work as everywhere. W&B's own
    step only grows, and a resumed run repeats steps: the x-axis is the metric `global_step`.
    """

    def __init__(self, directory: Path, config: Config) -> None:
        import wandb

        self._axis = StepAxis(read_metrics(directory))
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "r1core"),
            name=os.environ.get("WANDB_NAME", config.get("name")),
            dir=str(directory),
            id=wandb_id(directory),
            resume="allow",
            config=dict(config),
            allow_val_change=True,  # a resumed run may have more steps
            reinit="create_new",  # beside a run of the caller's own
            settings=wandb_settings(wandb.Settings(console="off")),  # progress bars are no log
        )
        self._run.define_metric("global_step")
        self._run.define_metric("*", step_metric="global_step")

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Log one step."""
        values = {f"{stage}/{name}": float(value) for name, value in metrics.items()}
        self._run.log({"global_step": self._axis.at(stage, step)} | values)

    def log_completions(self, stage: str, step: int, columns: Columns, kind: str) -> None:
        """Log the first completions as a table."""
        import wandb

        table = wandb.Table(columns=list(columns), data=first_rows(columns), allow_mixed_types=True)
        self._run.log({"global_step": self._axis.at(stage, step), f"{stage}/{kind}": table})

    def close(self) -> None:
        """Finish the run: waits until all is uploaded."""
        self._run.finish()


BUILT_IN: dict[str, Factory] = {"tensorboard": TensorBoard, "wandb": WandB}


def wandb_settings(settings: Any) -> Any:
    """Have the file of an offline run written each second: a kill loses what is not in it.

    W&B's default is 15 seconds, its setting for it experimental, so older versions stay as they
    are.
    """
    name = "x_transaction_log_flush_interval"
    if hasattr(settings, name):
        setattr(settings, name, 1.0)
    return settings


def wandb_id(directory: Path) -> str:
    """Return the W&B run that a run directory is; drawn once and kept there."""
    path = directory / WANDB_ID
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        write_atomic(path, secrets.token_hex(4))
    return path.read_text().strip()


def first_rows(columns: Columns) -> list[list[Any]]:
    """Return the first `ROWS_SHOWN` rows of a table, as plain values."""
    shown = [[to_cell(value) for value in values[:ROWS_SHOWN]] for values in columns.values()]
    return [list(row) for row in zip(*shown, strict=True)]


def markdown_table(columns: Columns) -> str:
    """Return the first rows of a table as Markdown, each cell on one line."""
    lines = [list(columns), ["---"] * len(columns), *first_rows(columns)]
    return "\n".join(f"| {' | '.join(map(markdown_cell, line))} |" for line in lines)


def markdown_cell(value: Any) -> str:
    """Return a value as one line of text that neither ends the cell nor reads as a tag."""
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    if len(text) > CHARACTERS_SHOWN:
        text = text[:CHARACTERS_SHOWN] + " ..."
    for mark, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        text = text.replace(mark, escape)
    return " ".join(text.split())

"""Checkpoints of a run: written whole or not at all, checked when read, few kept (DESIGN 7).

A checkpoint is an ordinary Hugging Face directory with two files more: `state.pt`, what the stage
needs to go on (tensors and plain values, read without unpickling code), and `checkpoint.json`,
its step, its score and a digest of every file.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError

from r1core.policy import Policy

logger = logging.getLogger(__name__)

INFO_FILE, STATE_FILE = "checkpoint.json", "state.pt"


class CheckpointError(OSError):
    """A checkpoint that cannot be written or read; the message says what is left to go on from."""


class CheckpointConfig(BaseModel):
    """When checkpoints are written and which are kept.

    Attributes:
        every: updates between checkpoints; the last update always has one. TRL's save_steps.
        keep: how many of the latest are kept, besides the best. TRL's save_total_limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: int = Field(50, ge=1)
    keep: int = Field(2, ge=1)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is there under its name.

    Attributes:
        path: its directory.
        step: updates done.
        score: of the evaluation at that step; None where there was none.
    """

    path: Path
    step: int
    score: float | None


class Checkpoints:
    """The checkpoints of one stage: `<directory>/<stage>-step-<step>`, and the link `<stage>-best`.

    Args:
        directory: the run's folder of checkpoints; made if missing.
        stage: the stage's name.
        keep: how many of the latest are kept, besides the best; >= 1.
    """

    def __init__(self, directory: Path, stage: str, keep: int = 2) -> None:
        self.directory, self.stage, self.keep = directory, stage, keep
        directory.mkdir(parents=True, exist_ok=True)
        for torn in directory.glob(f".{stage}-*"):  # of a process that was killed while writing
            torn.unlink() if torn.is_symlink() else shutil.rmtree(torn)

    def save(
        self, step: int, policy: Policy, state: dict[str, Any], score: float | None = None
    ) -> Path:
        """Write a checkpoint, then drop those that are neither recent nor the best.

        Raises:
            CheckpointError: it could not be written, or a weight is not finite, which nothing could
                go on from; the earlier ones are as they were.
        """
        path = self.directory / f"{self.stage}-step-{step:05d}"
        if broken := nonfinite_parameters(policy):
            raise CheckpointError(
                f"no checkpoint of step {step}: {len(broken)} parameters are not finite, first "
                f"{broken[0]}: an update broke them; {self._left()}. Lower optimizer.lr"
            )
        try:
            with whole_directory(path) as temporary:
                policy.save_pretrained(temporary)
                torch.save(state, temporary / STATE_FILE)
                info = {"step": step, "score": score, "sha256": dict(digests(temporary))}
                (temporary / INFO_FILE).write_text(json.dumps(info, indent=2) + "\n")
        except (OSError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(
                f"cannot write checkpoint {path}: {reason(error)}; {self._left()}. Free some space "
                "and run the same command again"
            ) from error
        self._prune()
        return path

    def _left(self) -> str:
        found = self.found()
        return f"the run goes on from {found[-1].path}" if found else "there is no earlier one"

    def found(self) -> list[Checkpoint]:
        """Return what is there under a checkpoint's name, damaged or not, by step."""
        name = re.compile(re.escape(self.stage) + r"-step-(\d+)")
        checkpoints = []
        for path in self.directory.iterdir():
            if match := name.fullmatch(path.name):
                checkpoints.append(Checkpoint(path, int(match[1]), score_of(path)))
        return sorted(checkpoints, key=lambda checkpoint: checkpoint.step)

    def latest(self) -> Checkpoint | None:
        """Return the last checkpoint that is whole; a damaged one is said and passed over.

        Raises:
            CheckpointError: there are checkpoints, and all are damaged.
        """
        faults: list[str] = []
        for checkpoint in reversed(self.found()):
            fault = damage(checkpoint.path)
            if fault is None:
                for line in faults:
                    logger.warning("%s; going on from %s", line, checkpoint.path)
                return checkpoint
            faults.append(f"checkpoint {checkpoint.path} is damaged: {fault}")
        if faults:
            raise CheckpointError(
                f"{'; '.join(faults)}. No whole checkpoint is left: remove them to begin the stage "
                "again"
            )
        return None

    def best(self) -> Checkpoint | None:
        """Return the checkpoint with the highest score, the earliest of equals."""
        scored = [c for c in self.found() if c.score is not None]
        return max(scored, key=lambda c: (c.score, -c.step), default=None)

    def _prune(self) -> None:
        found, best = self.found(), self.best()
        if best is not None:
            link = self.directory / f"{self.stage}-best"
            temporary = link.with_name(f".{link.name}")
            temporary.symlink_to(best.path.name)
            os.replace(temporary, link)
        for checkpoint in found[: -self.keep]:
            if checkpoint != best:
                doomed = checkpoint.path.with_name(f".{checkpoint.path.name}.old")
                checkpoint.path.rename(doomed)  # never half a checkpoint under its name
                shutil.rmtree(doomed)


def nonfinite_parameters(policy: Policy) -> list[str]:
    """Return the names of the parameters that hold NaN or infinity."""
    named = policy.model.named_parameters()
    return [name for name, p in named if not bool(p.detach().isfinite().all())]


def load_state(path: Path) -> dict[str, Any]:
    """Return what `Checkpoints.save` was given as `state`."""
    state: dict[str, Any] = torch.load(path / STATE_FILE, weights_only=True, map_location="cpu")
    return state


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Give a folder to write to that takes its name, synced to disk, when the block succeeds."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in [*temporary.rglob("*"), temporary]:
            sync(file)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
        sync(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def sync(path: Path) -> None:
    """Have the system write a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digests(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the SHA-256 of every file of a checkpoint but its own record."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.name != INFO_FILE:
            with open(path, "rb") as file:
                yield (
                    str(path.relative_to(directory)),
                    hashlib.file_digest(file, "sha256").hexdigest(),
                )


def damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None where every byte is as it was written."""
    try:
        expected = json.loads((path / INFO_FILE).read_text())["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{INFO_FILE} cannot be read ({reason(error)})"
    try:
        found = dict(digests(path))
    except OSError as error:
        return reason(error)
    for name, digest in expected.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != digest:
            return f"{name} is not as it was written ({(path / name).stat().st_size} bytes)"
    return None


def score_of(path: Path) -> float | None:
    """Return the score in a checkpoint's record, if it can be read."""
    try:
        score = json.loads((path / INFO_FILE).read_text())["score"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return score if isinstance(score, float) else None


def reason(error: Exception) -> str:
    """Return an error's message in one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(str(text).split())[:200] or type(error).__name__

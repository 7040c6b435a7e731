"""Where a stage's data is: what an earlier stage of the run wrote has a place in its directory."""

from __future__ import annotations

from pathlib import Path

from r1core.data import DataSpec

DATA_FILE = "data.jsonl"
"""What a stage that makes a data set writes into its directory."""


def located(spec: DataSpec, directory: Path) -> DataSpec:
    """Return a data table with the path of the stage that it names."""
    if spec.stage is None:
        return spec
    path = directory / "stages" / spec.stage / DATA_FILE
    return spec.model_copy(update={"stage": None, "path": str(path)})

"""PEP 517 backend: scikit-build-core, told where the installed torch is.

Under build isolation `import torch` fails, but the interpreter is still the one of the environment
that asked for the build, so its site-packages directory is known. R1CORE_TORCH_DIR overrides.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Any

from scikit_build_core import build as _backend
from scikit_build_core.build import *  # noqa: F403

Settings = dict[str, Any] | None


def _torch_directory() -> Path:
    override = os.environ.get("R1CORE_TORCH_DIR")
    directory = Path(override or Path(sysconfig.get_path("purelib")) / "torch")
    if not (directory / "include" / "ATen" / "ATen.h").is_file():
        raise SystemExit(
            f"r1core is compiled against the installed torch, and {directory} holds none. "
            "Install torch first (CPU: pip install torch==2.13.0), or set R1CORE_TORCH_DIR to "
            "the torch package directory, or pass --no-build-isolation."
        )
    return directory


def _with_torch(settings: Settings) -> dict[str, Any]:
    return {"cmake.define.R1CORE_TORCH_DIR": str(_torch_directory()), **(settings or {})}


def build_wheel(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    return _backend.build_wheel(directory, _with_torch(settings), metadata)


def build_editable(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    return _backend.build_editable(directory, _with_torch(settings), metadata)

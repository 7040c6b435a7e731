"""Checks of what a model is loaded with, before transformers and torch say it at length."""

from __future__ import annotations

import re
from pathlib import Path

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def check_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Return the dtype of a name or of itself.

    Raises:
        ValueError: neither float32 nor bfloat16.
    """
    found = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in DTYPES.values():
        raise ValueError(f"Policy: dtype must be {' or '.join(DTYPES)}; got {dtype!r}")
    return found


def check_device(device: str | torch.device) -> torch.device:
    """Return the device of a name or of itself.

    Raises:
        ValueError: neither the CPU nor a GPU that torch sees here.
    """
    name = str(device)
    gpu = re.fullmatch(r"cuda(?::(0|[1-9]\d*))?", name)
    if name != "cpu" and not (gpu and int(gpu[1] or 0) < torch.cuda.device_count()):
        raise ValueError(f"model.device must be {possible_devices()}; got {name!r}")
    return torch.device(name)


def possible_devices() -> str:
    """Return which devices there are here, for a message."""
    count = torch.cuda.device_count()
    if count:
        return "cpu, cuda" + "".join(f", cuda:{index}" for index in range(count))
    built = "" if torch.version.cuda else ", which is built for the CPU alone,"
    return f"cpu here, where torch{built} sees no GPU"


def why_no_directory(path: str | Path) -> str | None:
    """Return why nothing can be loaded from what is meant as a directory; None where it can.

    A hub name is one name, or an owner's and a model's with a slash between.
    """
    text = str(path)
    as_path = text.startswith((".", "/", "~")) or text.endswith("/") or text.count("/") > 1
    if Path(text).is_dir() or not (as_path or Path(text).exists()):
        return None
    return "it is a file, not a directory" if Path(text).exists() else "no such directory"

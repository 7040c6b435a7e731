"""Holding a part of a data set out for evaluation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from r1core.data.sources import Row
from r1core.data.spec import DataSpec


def rows_of_part(rows: Sequence[Row], spec: DataSpec) -> list[int]:
    """Return the indices of the rows on the side of the split that `spec.part` names.

    The side of a row depends on its prompt alone (and, with `eval_size`, on which prompts there
    are): equal prompts are never on both sides. Training rows keep their order; evaluation rows
    come in the order of their hashes, so the first few of them are a fair sample of the data.

    Raises:
        ValueError: a side has no prompt.
    """
    if not spec.is_split:
        return list(range(len(rows)))
    hashes = [prompt_hash(row["prompt"], spec.split_seed) for row in rows]
    different = sorted(set(hashes))
    if spec.eval_size is not None:
        held_out = set(different[: spec.eval_size])
    else:
        assert spec.eval_fraction is not None
        held_out = {value for value in different if value < spec.eval_fraction * 2**64}
    if not 0 < len(held_out) < len(different):
        setting = "eval_fraction" if spec.eval_size is None else "eval_size"
        raise ValueError(
            f"load_questions: {setting} must leave prompts on both sides; got "
            f"{spec.eval_size or spec.eval_fraction}, which holds out {len(held_out)} of the "
            f"{len(different)} different prompts of {spec.source}"
        )
    if spec.part == "train":
        return [index for index, value in enumerate(hashes) if value not in held_out]
    chosen = [index for index, value in enumerate(hashes) if value in held_out]
    return sorted(chosen, key=hashes.__getitem__)


def prompt_hash(prompt: Any, seed: int) -> int:
    """Return a number in [0, 2^64) of a prompt; prompts that differ in white space are equal."""
    text = " ".join(prompt.split()) if isinstance(prompt, str) else prompt
    line = json.dumps([seed, text], sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(line.encode()).digest()[:8], "big")

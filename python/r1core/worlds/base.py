"""The base model of a world: pretrained on first use, kept in a cache.

The cache lives in `$R1CORE_CACHE`, or ~/.cache/r1core. A directory there is named by the hash of
everything that made it, so another setting is another base, and a directory appears whole or not
at all: it is built beside its place and renamed. Two processes may ask at once; one builds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from transformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM

from r1core.stages.pretrain import Gate, PretrainConfig, pretrain
from r1core.types import StepStats
from r1core.worlds import World
from r1core.worlds.gate import ForcedThinking
from r1core.worlds.tokenizer import EOS_ID, PAD_ID, train_tokenizer

if TYPE_CHECKING:
    from r1core.policy import Policy

BASE_VERSION = 3  # raise it when a change to this package changes the base's weights
TOKENIZER_PAGES = 2000  # enough to show every word many times

MODEL: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    "tie_word_embeddings": True,
    # About 1.6 / sqrt(hidden_size). With the usual 0.02, which suits models ten times as wide, the
    # skill takes more than twice as many steps to form.
    "initializer_range": 0.14,
}

Progress = Callable[[StepStats], None]


@dataclasses.dataclass(frozen=True)
class BaseShape:
    """The size of a world's base and the length of its pretraining.

    Attributes:
        num_hidden_layers: None takes three.
        hidden_size: width, a multiple of 32 (a head's width); None takes 128.
        pretrain_steps: None pretrains until the gate holds; a number for so many steps, gate or
            not, and 0 leaves the weights at random.
    """

    num_hidden_layers: int | None = None
    hidden_size: int | None = None
    pretrain_steps: int | None = None

    def model(self) -> dict[str, Any]:
        """Return the settings of `Qwen3Config`."""
        width = self.hidden_size or MODEL["hidden_size"]
        heads = width // MODEL["head_dim"]
        return MODEL | {
            "num_hidden_layers": self.num_hidden_layers or MODEL["num_hidden_layers"],
            "hidden_size": width,
            "intermediate_size": MODEL["intermediate_size"] * width // MODEL["hidden_size"],
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "initializer_range": MODEL["initializer_range"] * (MODEL["hidden_size"] / width) ** 0.5,
        }


def base_config(vocab_size: int, shape: BaseShape | None = None) -> Qwen3Config:
    """Return the configuration of a world's base: 3 layers of width 128, 0.6M parameters."""
    return Qwen3Config(
        vocab_size=vocab_size,
        bos_token_id=None,
        eos_token_id=EOS_ID,
        pad_token_id=PAD_ID,
        **(shape or BaseShape()).model(),
    )


def base_policy(
    world: World,
    *,
    shape: BaseShape | None = None,
    cache_dir: Path | str | None = None,
    on_progress: Progress | None = None,
) -> Policy:
    """Return the world's pretrained base, from the cache or built now (about half a minute).

    Args:
        world: from `load_world`.
        shape: its size and the length of its pretraining; None takes what works.
        cache_dir: where bases are kept; None takes `$R1CORE_CACHE`, or ~/.cache/r1core.
        on_progress: called with the statistics of each pretraining step; never if cached.

    Raises:
        RuntimeError: pretraining did not pass the gate.
    """
    from r1core.policy import Policy  # not needed to build a base

    return Policy.from_pretrained(
        str(base_directory(world, shape=shape, cache_dir=cache_dir, on_progress=on_progress))
    )


def base_directory(
    world: World,
    *,
    shape: BaseShape | None = None,
    config: PretrainConfig | None = None,
    cache_dir: Path | str | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """Return the Hugging Face directory of the world's base, as `base_policy` does.

    Args:
        world: from `load_world`.
        shape: its size and the length of its pretraining; None takes what works.
        config: how to pretrain; None takes the settings that work.
        cache_dir: where bases are kept; None takes `$R1CORE_CACHE`, or ~/.cache/r1core.
        on_progress: called with the statistics of each pretraining step; never if cached.

    Raises:
        RuntimeError: pretraining did not pass the gate.
    """
    config = config or PretrainConfig(**world.pretraining)
    parent = (Path(cache_dir) if cache_dir else default_cache_dir()) / "worlds"
    parent.mkdir(parents=True, exist_ok=True)
    shape = shape or BaseShape()
    directory = parent / f"{world.name}-{_cache_key(world, config, shape)}"
    if _is_whole(directory):
        return directory
    with FileLock(f"{directory}.lock"):  # the operating system frees it if its holder dies
        if not _is_whole(directory):
            _replace(directory, lambda path: build_base(world, path, config, on_progress, shape))
    return directory


def default_cache_dir() -> Path:
    """Return `$R1CORE_CACHE`, or ~/.cache/r1core."""
    return Path(os.environ.get("R1CORE_CACHE") or Path.home() / ".cache" / "r1core")


def build_base(
    world: World,
    directory: Path,
    config: PretrainConfig,
    on_progress: Progress | None = None,
    shape: BaseShape | None = None,
) -> None:
    """Train a world's tokenizer and base model and write them to an existing directory.

    Raises:
        RuntimeError: pretraining did not pass the gate.
    """
    train_tokenizer(islice(world.pages(), TOKENIZER_PAGES), world.tags, directory)
    tokenizer = AutoTokenizer.from_pretrained(str(directory))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(world.seed)
        model = Qwen3ForCausalLM(base_config(len(tokenizer), shape))
    gate: Gate | None = ForcedThinking(world, tokenizer)
    steps = None if shape is None else shape.pretrain_steps
    if steps is not None:  # part of a schedule, whatever it brings
        config, gate = dataclasses.replace(config, max_steps=steps), None
    if steps != 0:
        for stats in pretrain(model, documents(world, tokenizer), config, gate=gate):
            if on_progress:
                on_progress(stats)
    model.eval()
    model.generation_config = GenerationConfig(eos_token_id=[EOS_ID], pad_token_id=PAD_ID)
    model.save_pretrained(str(directory))


def documents(world: World, tokenizer: PreTrainedTokenizerBase) -> Iterator[list[int]]:
    """Yield the world's pages as token ids with the stop token, without end."""
    pages = world.pages()
    while True:
        for ids in tokenizer(list(islice(pages, 256)), add_special_tokens=False)["input_ids"]:
            yield [*ids, EOS_ID]


def _cache_key(world: World, config: PretrainConfig, shape: BaseShape) -> str:
    chosen = {k: v for k, v in dataclasses.asdict(shape).items() if v is not None}
    made_of = {
        "version": BASE_VERSION,
        "world": [world.name, dataclasses.asdict(world)],  # type: ignore[call-overload]
        "model": MODEL,
        "pretrain": dataclasses.asdict(config),
    } | ({"shape": chosen} if chosen else {})
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def _replace(directory: Path, build: Callable[[Path], None]) -> None:
    """Build beside `directory`, then put the result in its place, over a damaged one."""
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".building-") as temporary:
        new = Path(temporary) / "new"
        new.mkdir()
        build(new)
        (new / "checksums.json").write_text(json.dumps(_checksums(new), indent=2) + "\n")
        shutil.rmtree(directory, ignore_errors=True)
        new.rename(directory)


def _is_whole(directory: Path) -> bool:
    """Tell whether a cached base is there with every byte it was written with."""
    try:
        expected = json.loads((directory / "checksums.json").read_text())
        return bool(expected == _checksums(directory))
    except (OSError, ValueError):
        return False


def _checksums(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.iterdir()) if path.name != "checksums.json")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

"""What a stage keeps whatever it does: weights, gradients, the optimizer's state, copies.

One formula per function, in bytes. b is the bytes of a weight: 4, or 2 in bfloat16.
"""

from __future__ import annotations

from dataclasses import dataclass

from r1core.lora import LoraSettings
from r1core.plan.device import GIB, Kind
from r1core.plan.shape import ModelShape

FLOAT = 4
"""Bytes of what is not in the weights' dtype: moments, masters, the engine's activations."""

CUDA_CONTEXT = GIB // 2
"""What a process holds on a GPU before its first tensor: context, kernels, cuBLAS workspaces."""

PROCESS = GIB // 2
"""What Python, torch, transformers and r1core hold in memory before the first model."""

ROLLOUT_BYTES = 8 + 3 * 4 + 1
"""Bytes of a drawn position: token id, two log-probabilities, entropy, mask."""

MMAP_THRESHOLD = 32 * 2**20
"""What glibc's malloc takes from the system piece by piece and gives back at once, it raises to
this while a program runs; smaller pieces leave holes."""
HOLES = 0.6
"""Holes per byte of activations, as measured with small models: 0.3 to 0.8."""


@dataclass(frozen=True)
class Setup:
    """A model as a stage trains or samples it.

    Attributes:
        shape: its sizes.
        b: bytes of a weight.
        kind: of the device.
        engine: samples by the engine, else by the module's own forward.
        native: trains by the engine's kernels, else by the module's own forward.
        lora: of the adapter; None where every weight trains.
        checkpointing: whether training keeps each layer's input alone.
        threads: of the engine.
    """

    shape: ModelShape
    b: int
    kind: Kind
    engine: bool
    native: bool
    lora: LoraSettings | None
    checkpointing: bool
    threads: int

    @property
    def adapter(self) -> int:
        """Elements of the adapter."""
        return self.shape.adapter(self.lora) if self.lora else 0

    @property
    def trained(self) -> int:
        """Elements that the optimizer steps: with LoRA the adapter's alone."""
        return self.adapter if self.lora else self.shape.parameters

    @property
    def largest(self) -> int:
        """Elements of the largest tensor that trains; of an adapter, about nothing."""
        return 0 if self.lora else self.shape.largest


def process(kind: Kind) -> int:
    """Return what is there before the first weight, on the device that is planned for."""
    return CUDA_CONTEXT if kind == "cuda" else PROCESS


def weights(setup: Setup) -> int:
    """Return b bytes a parameter, and the adapter in the same dtype (peft makes it so)."""
    return (setup.shape.parameters + setup.adapter) * setup.b


def moments(trained: int) -> int:
    """Return AdamW's two moments, in float32: of bfloat16 weights they follow the masters."""
    return 2 * FLOAT * trained


def masters(trained: int, b: int) -> int:
    """Return the float32 masters, which only weights of fewer bits have (`stages.masters`)."""
    return FLOAT * trained if b < FLOAT else 0


def gradients(trained: int) -> int:
    """Return one gradient per element that trains: float32, on the masters where there are any."""
    return FLOAT * trained


def gradients_in_flight(setup: Setup, trained: int, accumulates: bool) -> int:
    """Return what a backward pass holds of gradients beside those that are summed.

    The engine's backward is one node of the graph, so all of its float32 gradients come at once:
    the first micro-batch's become the sum, every later one's lie beside it; of bfloat16 weights a
    rounded set lies there too. The module's own backward hands over one tensor at a time, in the
    end the embedding's. A tied head's gradient waits until the embedding's comes.
    """
    tied = setup.shape.embedding if setup.shape.tied and not setup.lora else 0
    if setup.native:
        later = FLOAT * trained if accumulates else 0
        return later + (setup.b * trained if setup.b < FLOAT else 0) + setup.b * tied
    wide = FLOAT if setup.b < FLOAT and accumulates else 0
    return (setup.b + wide) * (0 if setup.lora else setup.shape.embedding)


def optimizer_step(setup: Setup, trained: int, largest: int) -> int:
    """Return the temporaries of AdamW: the roots of the second moments.

    On a GPU torch takes all tensors together, on the CPU one after the other, twice.
    """
    return FLOAT * trained if setup.kind == "cuda" else 2 * FLOAT * largest


def rollouts(rows: int, length: int, more: int = 0) -> int:
    """Return a batch of completions, padded to the longest; `more` floats a position beside."""
    return rows * length * (ROLLOUT_BYTES + FLOAT * more)

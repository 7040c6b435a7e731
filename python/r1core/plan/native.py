"""The engine's memory: `csrc/training` and `csrc/engine`, formula by formula, in bytes.

Everything is float32 whatever the weights are. Rows lie in panels of 16.
Widths: H hidden, I feed-forward, Q all query heads, K all key heads, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1core.plan.batch import Tokens
from r1core.plan.device import GIB
from r1core.plan.parts import FLOAT, HOLES, MMAP_THRESHOLD, Setup
from r1core.plan.shape import ModelShape
from r1core.policy import TRACE_BYTES

PANEL = 16
LOGITS_BUDGET = 64 * 2**20  # kBudget in training/head_gradient.cpp
HEAD_PANELS = 8  # kBlock there: panels that a thread scores together
POOL = GIB  # kMost in engine/buffer.cpp
BLOCK_ROWS = 64  # Decoder::kMaxRows: rows that run through the layers together


def padded(rows: int) -> int:
    """Return rows in whole panels."""
    return -(-rows // PANEL) * PANEL


def slots(rows: int, threads: int) -> int:
    """Return the completions that are decoded together (`Engine.generate`)."""
    return min(rows, max(64, 32 * threads))


def kv_position(shape: ModelShape, layers: int | None = None) -> int:
    """Return a position's keys and values: 2 K floats a layer."""
    return FLOAT * 2 * shape.kv * (shape.layers if layers is None else layers)


def trace(setup: Setup, prompts: int, n: int, prompt: int, limits: Sequence[int]) -> int:
    """Return what a draw keeps for its update: each layer's attention and output, of every token.

    Of the completions' limits in turn, the most that is not above `policy.TRACE_BYTES`.
    """
    if not setup.native or setup.checkpointing:
        return 0
    token = FLOAT * setup.shape.layers * (setup.shape.query + setup.shape.hidden)
    sizes = [token * prompts * (prompt + n * limit) for limit in limits]
    return max((size for size in sizes if size <= TRACE_BYTES), default=0)


def sampling_cache(
    setup: Setup, prompts: int, group_size: int, prompt: int, completion: int
) -> int:
    """Return the KV cache of sampling.

    A slot holds its completion; a prompt's lies there once for its group, from its first completion
    until its last: for as many groups as the slots reach, and one that waits.
    """
    used = slots(prompts * group_size, setup.threads)
    groups = min(prompts, -(-used // group_size) + 1)
    positions = used * padded(completion) + groups * padded(prompt)
    return positions * kv_position(setup.shape)


def sampling_workspace(setup: Setup) -> int:
    """Return each thread's block of rows: activations of one layer, and logits."""
    s = setup.shape
    row = 2 * s.hidden + s.query + 2 * s.kv + 2 * s.intermediate + s.head_dim + s.vocab
    return FLOAT * setup.threads * (BLOCK_ROWS * row + PANEL * s.vocab)


def training_cache(setup: Setup, tokens: Tokens) -> int:
    """Return keys and values of a micro-batch: of every layer, or of two while layers run again."""
    layers = 2 if setup.checkpointing else setup.shape.layers
    completion = tokens.sequences * padded(max(0, tokens.completion - 1))
    positions = tokens.prompts * padded(tokens.prompt) + completion
    return positions * kv_position(setup.shape, layers)


def tape(shape: ModelShape) -> int:
    """Return what a layer keeps of a row: queries, attention, middle, gate, up (`LayerTape`)."""
    raw = shape.query + shape.kv if shape.head_norms else 0  # before their norm
    return FLOAT * (2 * shape.query + shape.hidden + 2 * shape.intermediate + raw)


def kept_activations(setup: Setup, tokens: Tokens) -> int:
    """Return what a forward pass keeps for the backward pass.

    Each layer's input and the last one's output; every layer's tape, or one that is filled again
    layer by layer (`Keep::layers`); rotary angles; keys and values.
    """
    s = setup.shape
    tapes = 1 if setup.checkpointing else s.layers
    row = FLOAT * ((s.layers + 1) * s.hidden + s.head_dim) + tapes * tape(s)
    hidden = FLOAT * s.hidden * tokens.targets  # the result
    return padded(tokens.rows) * row + hidden + training_cache(setup, tokens)


def backward_scratch(setup: Setup, tokens: Tokens) -> int:
    """Return the gradients of one layer's activations (`Backward`), and those of the result."""
    s = setup.shape
    by_panels = 2 * s.hidden + 2 * s.query + 2 * s.kv + 2 * s.intermediate
    by_rows = 2 * s.hidden + s.intermediate + s.query
    pairs = 7 * 3 * setup.lora.r if setup.lora else 0
    rows = padded(tokens.rows) * (by_panels + by_rows + pairs)
    norm_sums = -(-tokens.rows // PANEL) * 2 * (s.hidden + s.head_dim)
    return FLOAT * (rows + norm_sums + 3 * tokens.targets * s.hidden)


def head_logits(setup: Setup, tokens: Tokens) -> int:
    """Return the logits that exist at a time: forward a block per thread, backward 64 MB.

    And a panel of them by rows, per thread.
    """
    V, H = setup.shape.vocab, setup.shape.hidden
    panels = -(-tokens.targets // PANEL)
    forward = min(panels, HEAD_PANELS * setup.threads)
    fit = max(LOGITS_BUDGET // (V * PANEL * FLOAT), setup.threads)
    backward = min(panels, fit)
    by_rows = 2 * setup.threads * V
    return FLOAT * PANEL * (forward * (V + H) + backward * (V + 2 * H) + by_rows)


def malloc_holes(setup: Setup, tokens: Tokens) -> int:
    """Return what the C allocator keeps of gradients that come wide, are rounded and widened again.

    Only of bfloat16 weights, and where tensors are small (`parts.MMAP_THRESHOLD`); the engine's
    own buffers have their pool.
    """
    del tokens
    if setup.b == FLOAT or FLOAT * setup.largest >= MMAP_THRESHOLD:
        return 0
    return int(HOLES * (FLOAT + FLOAT + setup.b) * setup.trained)


def scoring(setup: Setup, tokens: Tokens) -> int:
    """Return a forward pass that keeps nothing: one layer's tape, keys and values of two."""
    s = setup.shape
    row = FLOAT * (s.hidden + s.head_dim) + tape(s) + kv_position(s, 2)
    return padded(tokens.rows) * row


def pooled(held: int) -> int:
    """Return what the engine's pool keeps of buffers given back: at most a gigabyte."""
    return min(POOL, held)

"""The memory of a Hugging Face module's own forward and backward, formula by formula, in bytes.

What autograd saves in a decoder layer of transformers, counted with `saved_tensors_hooks` and equal
to the byte for Llama, Qwen2 and Qwen3, with and without LoRA; other decoders come near.
Widths as in `plan.native`; b bytes of a weight.
"""

from __future__ import annotations

from r1core.grpo_loss_from_hidden import CPU_BUDGET, GPU_BUDGET
from r1core.plan.batch import Tokens
from r1core.plan.parts import FLOAT, HOLES, MMAP_THRESHOLD, Setup

PANEL = 16 * 2**20  # kPanelItems in grpo_loss_from_hidden.cpp
ROWS_AT_ONCE = 512  # of `hf_sampling.generate`


def sampling_rows(prompts: int, group_size: int) -> int:
    """Return the completions that decode together."""
    return min(ROWS_AT_ONCE, prompts * group_size)


def sampling_cache(
    setup: Setup, prompts: int, group_size: int, prompt: int, completion: int
) -> int:
    """Return the KV cache of sampling: every row has its prompt's too.

    It grows by concatenation, so one layer's keys lie there twice for a moment.
    """
    s, rows = setup.shape, sampling_rows(prompts, group_size)
    return rows * (prompt + completion) * s.kv * setup.b * (2 * s.layers + 1)


def sampling_workspace(setup: Setup, prompts: int, group_size: int, prompt: int) -> int:
    """Return the larger of the prompts' pass through a layer and a step's logits.

    The logits become float32 and go to the CPU.
    """
    rows = sampling_rows(prompts, group_size)
    mask = rows * prompt * prompt * (1 + setup.b)
    prefill = rows * prompt * transient(setup) + mask
    return max(prefill, rows * setup.shape.vocab * (setup.b + FLOAT))


def transient(setup: Setup) -> int:
    """Return what a layer holds of a token while it runs: the residual, its norm, gate and up."""
    s, b = setup.shape, setup.b
    return b * (2 * s.hidden + 3 * s.intermediate)


def saved_by_layer(setup: Setup) -> int:
    """Return what autograd saves of a token in a layer.

    A norm saves its input in float32 and what its weight multiplies; the projections save its
    output. Attention saves q, k and v with heads repeated, its output and a log-sum; the
    feed-forward layer gate, silu, up and product. A frozen norm saves no factor; LoRA saves A x.
    """
    s, b = setup.shape, setup.b
    factor = 0 if setup.lora else b
    norms = 2 * (FLOAT * s.hidden + factor * s.hidden + b * s.hidden + FLOAT)
    if s.head_norms:
        norms += (FLOAT + factor) * (s.query + s.kv) + FLOAT * (s.heads + s.kv_heads)
    attention = 4 * b * s.query + FLOAT * s.heads
    feed_forward = 4 * b * s.intermediate
    pairs = b * setup.lora.r * s.adapted(setup.lora) if setup.lora else 0
    return norms + attention + feed_forward + pairs


def kept_activations(setup: Setup, tokens: Tokens) -> int:
    """Return what a forward pass keeps for the backward pass.

    Every layer's saved tensors, or its input where it runs again; and the last norm's.
    """
    s, b = setup.shape, setup.b
    each = tokens.rows * b * s.hidden if setup.checkpointing else layer(setup, tokens)
    last = tokens.rows * (FLOAT + 2 * b) * s.hidden + tokens.targets * b * s.hidden
    return s.layers * each + last


def layer(setup: Setup, tokens: Tokens) -> int:
    """Return what one layer saves: of packed rows also a mask, [rows, columns, columns].

    The mask is made of the weights' dtype, again in every layer.
    """
    mask = tokens.rows * tokens.columns * setup.b if tokens.masked else 0
    return tokens.rows * saved_by_layer(setup) + mask


def backward_scratch(setup: Setup, tokens: Tokens) -> int:
    """Return the gradients inside one layer, of product, silu, gate, up and a norm.

    Where a layer runs again, what it saves is there too.
    """
    s, b = setup.shape, setup.b
    again = layer(setup, tokens) if setup.checkpointing else 0
    return again + tokens.rows * (3 * b * s.intermediate + (b + FLOAT) * s.hidden)


def head_logits(setup: Setup, tokens: Tokens) -> int:
    """Return the logits that exist at a time, and what is made of them beside.

    Where they are the head's alone: a chunk in float32, on a GPU also its gradient in bfloat16;
    the gradient of the hidden states; of a bfloat16 head the float32 sum of its gradient, and on
    the CPU a panel of it as float32. Elsewhere those of every completion token, and their gradient,
    in the weights' dtype.
    """
    s, count = setup.shape, tokens.targets * setup.shape.vocab
    if not s.plain_head:
        return count * 2 * setup.b
    narrow, on_gpu = setup.b < FLOAT, setup.kind == "cuda"
    chunk = count * (FLOAT + (setup.b if narrow and on_gpu else 0))
    head = FLOAT * s.embedding if narrow and not setup.lora else 0
    panel = min(PANEL, FLOAT * s.embedding) if narrow and not on_gpu else 0
    budget = GPU_BUDGET if on_gpu else CPU_BUDGET
    return min(budget, chunk) + FLOAT * tokens.targets * s.hidden + head + panel


def malloc_holes(setup: Setup, tokens: Tokens) -> int:
    """Return the memory that the C allocator keeps on the CPU where tensors are small.

    It goes by what all layers save, also where they do so one after the other.
    """
    s = setup.shape
    if setup.kind != "cpu" or tokens.rows * s.intermediate * setup.b >= MMAP_THRESHOLD:
        return 0
    return int(HOLES * s.layers * tokens.rows * saved_by_layer(setup))


def scoring(setup: Setup, tokens: Tokens) -> int:
    """Return a forward pass without gradient, head excluded."""
    return tokens.rows * (transient(setup) + setup.b * 2 * (setup.shape.query + setup.shape.kv))

"""The memory of a Hugging Face module's own forward and backward, formula by formula, in bytes.

What autograd saves in a decoder layer of transformers, counted with `saved_tensors_hooks` and equal
to the byte for Llama, Qwen2 and Qwen3, with and without LoRA; other decoders come near.
Widths as in `plan.native`; b bytes of a weight.
"""

from __future__ import annotations

from r1core.plan.batch import Tokens
from r1core.plan.parts import FLOAT, HOLES, MMAP_THRESHOLD, Setup

ROWS_AT_ONCE = 512  # of `hf_sampling.generate`
GPU_SAVED = 3 * FLOAT
"""Bytes of a logit that torch's own log_softmax and entropy save on a GPU: the log-probability, the
probability and their product (`logprob.token_logprobs`)."""


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


def head_logits(setup: Setup, tokens: Tokens, accumulates: bool) -> int:
    """Return logits of every completion token, and what is made of them.

    On the CPU one kernel reads them and another writes the gradient, in their own dtype. On a GPU
    torch saves three float32 tensors and has two more in the backward pass; or it holds the logits
    and two more in the forward pass, when what entropies saved in the micro-batch before is still
    there: no gradient has come by to free it.
    """
    count = tokens.targets * setup.shape.vocab
    if setup.kind == "cpu":
        return count * 2 * setup.b
    wide = FLOAT if setup.b < FLOAT else 0
    forward = setup.b + wide + GPU_SAVED + (GPU_SAVED if accumulates else 0)
    return count * max(forward, GPU_SAVED + 2 * FLOAT)


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

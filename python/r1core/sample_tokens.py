"""Draw one token per row of logits: exact filters, one counter-based random number per token."""

from __future__ import annotations

import torch
from torch import Tensor

from r1core import _C
from r1core.cuda import stream_of


@torch.library.custom_op("r1core::sample_tokens", mutates_args=())
def _sample_tokens(
    logits: Tensor, uniforms: Tensor, temperature: float, top_k: int, top_p: float, min_p: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _C.sample_tokens(logits, uniforms, temperature, top_k, top_p, min_p, stream_of(logits))


@_sample_tokens.register_fake
def _(
    logits: Tensor, uniforms: Tensor, temperature: float, top_k: int, top_p: float, min_p: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    N = logits.shape[0]
    tokens = logits.new_empty(N, dtype=torch.int64)
    numbers = logits.new_empty(N, dtype=torch.float32)
    return tokens, numbers, torch.empty_like(numbers), torch.empty_like(numbers)


def sample_tokens(
    logits_NV: Tensor,
    uniforms_N: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw one token per row by inverting its cumulative distribution.

    Filters apply in the order temperature, top-k, top-p, min-p; ties go to the lowest id. A row's
    result depends on that row alone.

    Args:
        logits_NV: [N, V] float32 or bfloat16, CPU or CUDA; -inf is never drawn.
        uniforms_N: [N] float64 in (0, 1) on the same device, from `philox_uniforms` for instance.
        temperature: divides the logits; > 0.
        top_k: highest logits kept; 0 keeps everything.
        top_p: nucleus mass kept; in (0, 1].
        min_p: smallest probability kept, relative to the largest; in [0, 1).

    Returns:
        tokens_N: int64.
        logprobs_N: float32, under the tempered, unfiltered distribution.
        truncated_logprobs_N: float32, under the filtered distribution.
        entropies_N: float32, nats, of the tempered, unfiltered distribution.

        A row that has no distribution (NaN or +inf in it, or only -inf) gives token 0, and NaN for
        its numbers.

    Raises:
        ValueError: another shape, dtype or device, or an option out of range; on the CPU also a
            uniform out of range.

    Note:
        On a GPU nothing waits for it, so a uniform out of range counts as the nearest one within.
        It draws the CPU's tokens, except where a uniform is as close to a boundary between two
        tokens as fp32 rounds: about once in a million.
    """
    tokens, logprobs, truncated, entropies = _sample_tokens(
        logits_NV, uniforms_N, temperature, top_k, top_p, min_p
    )
    return tokens, logprobs, truncated, entropies


def philox_uniforms(
    seed: int, prompt_uids_N: Tensor, samples_N: Tensor, positions_N: Tensor
) -> Tensor:
    """Return the uniform numbers that r1core's sampler uses at the given counters.

    Philox4x32-10 (Salmon et al. 2011) with key `seed`: a number depends on its counters alone, so a
    completion does not depend on the batch it was drawn in.

    Args:
        seed: key, in [0, 2^64).
        prompt_uids_N: [N] int64, CPU or CUDA, the prompt's counter within a run.
        samples_N: [N] int64, which of the prompt's completions.
        positions_N: [N] int64, position in the completion, from 0.

    Returns:
        [N] float64 on the same device, strictly between 0 and 1, 53 random bits each; the same
        bits on every device.

    Raises:
        ValueError: another shape, dtype or device; on the CPU also a counter out of [0, 2^32), of
            which a GPU takes the low 32 bits.
    """
    return _C.philox_uniforms(seed, prompt_uids_N, samples_N, positions_N, stream_of(prompt_uids_N))

"""Worked examples as rollouts, so that supervised training runs on the same forward.

That is packed rows, and the head on completion tokens alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from r1core.data import Example
from r1core.types import Rollouts, SamplingParams, within


def as_rollouts(examples: Sequence[Example]) -> Rollouts:
    """Return examples as N groups of one, at temperature 1; log-probabilities are left at 0."""
    lengths_N = torch.tensor([len(example.completion) for example in examples], dtype=torch.int64)
    N, T = len(examples), int(lengths_N.max()) if examples else 0
    tokens_NT = torch.zeros(N, T, dtype=torch.int64)
    for n, example in enumerate(examples):
        tokens_NT[n, : len(example.completion)] = torch.tensor(example.completion)
    blank_NT = torch.zeros(N, T)
    return Rollouts(
        prompts=[None] * N,  # type: ignore[list-item]  # nothing reads them
        prompt_tokens=[torch.tensor(example.prompt, dtype=torch.int64) for example in examples],
        group_size=1,
        tokens_NT=tokens_NT,
        logprobs_NT=blank_NT,
        truncated_logprobs_NT=blank_NT,
        entropies_NT=blank_NT,
        lengths_N=lengths_N,
        mask_NT=within(lengths_N, T),
        finish_reasons=["stop"] * N,
        sampling=SamplingParams(n=1),
        prompt_uids=list(range(N)),
    )

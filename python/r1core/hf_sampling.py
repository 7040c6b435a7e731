"""Sampling through a model's own forward, for any Hugging Face causal LM on any device.

Slower than the engine, and the same contract: Philox numbers by (seed, prompt, sample, position),
the same filters, log-probabilities and entropy per token. A GPU's logits stay there; what was
drawn comes to the CPU. The model's own kernels decide the logits, so their last bits may depend on
the batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1core.engine import Generated, OnStep
from r1core.sample_tokens import philox_uniforms, sample_tokens
from r1core.stop_strings import StopStrings
from r1core.types import SamplingParams


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Tensor],
    params: SamplingParams,
    stop_token_ids: Sequence[int],
    prompt_uids: Sequence[int],
    on_step: OnStep | None = None,
    *,
    seeds: Sequence[int] | None = None,
    stop_strings: StopStrings | None = None,
    rows_at_once: int = 512,
) -> Generated:
    """Draw params.n completions of each prompt; results as `Engine.generate` gives them.

    Args:
        model: any causal LM; put into evaluation mode meanwhile.
        prompts: P tensors of token ids.
        params: sampling settings.
        stop_token_ids: ids that end a completion.
        prompt_uids: P counters of the random generator.
        on_step: progress callback.
        seeds: P keys of the random generator; None takes params.seed for all.
        stop_strings: strings that end a completion; None reads no text.
        rows_at_once: completions decoded together.
    """
    was_training = model.training
    model.eval()
    keys = [params.seed] * len(prompts) if seeds is None else seeds
    try:
        N, T = len(prompts) * params.n, params.max_new_tokens
        result = Generated.empty(N, T)
        for begin in range(0, N, rows_at_once):
            rows = torch.arange(begin, min(begin + rows_at_once, N))
            owner = (rows // params.n).tolist()
            draws = _Draws(
                params,
                _rows_of_each([keys[p] % 2**64 for p in owner]),
                torch.tensor([prompt_uids[p] for p in owner]),
                rows % params.n,
            )
            stops = _Stops(stop_token_ids, stop_strings)
            _decode(model, [prompts[p] for p in owner], draws, stops, rows, result, on_step)
        return result.trimmed()
    finally:
        model.train(was_training)


def _rows_of_each(seeds: Sequence[int]) -> dict[int, Tensor]:
    """Return where each seed stands, int64."""
    rows: dict[int, list[int]] = {}
    for row, seed in enumerate(seeds):
        rows.setdefault(seed, []).append(row)
    return {seed: torch.tensor(found) for seed, found in rows.items()}


class _Draws(NamedTuple):
    """The random numbers of R rows, and what is made of them."""

    params: SamplingParams
    rows_of_seed: Mapping[int, Tensor]
    prompt_uids_R: Tensor
    samples_R: Tensor

    def __call__(self, logits_RV: Tensor, position: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return tokens, log-probabilities, truncated ones and entropies of one position."""
        uniforms_R = torch.empty(len(self.samples_R), dtype=torch.float64)
        for seed, rows in self.rows_of_seed.items():
            uids, samples = self.prompt_uids_R[rows], self.samples_R[rows]
            positions = torch.full_like(uids, position)
            uniforms_R[rows] = philox_uniforms(seed, uids, samples, positions)
        return sample_tokens(
            logits_RV,
            uniforms_R.to(logits_RV.device),
            temperature=self.params.temperature,
            top_k=self.params.top_k,
            top_p=self.params.top_p,
            min_p=self.params.min_p,
        )


class _Stops(NamedTuple):
    """What ends a completion before its length limit."""

    token_ids: Sequence[int]
    strings: StopStrings | None

    def __call__(self, tokens_NT: Tensor, rows_R: Tensor, t: int, vocab_size: int) -> Tensor:
        """Return which of some rows end with their token at `t`, bool [R]."""
        last_R = tokens_NT[rows_R, t]
        stopped_R = torch.isin(last_R, torch.tensor(list(self.token_ids), dtype=torch.int64))
        if self.strings is not None:
            for r in (self.strings.may_end(vocab_size)[last_R] & ~stopped_R).nonzero().flatten():
                stopped_R[r] = self.strings.ends(tokens_NT[rows_R[r], : t + 1])
        return stopped_R


def _cache_name(model: PreTrainedModel) -> str:
    """Return what the model calls its key-value cache: transformers 5.24 renamed it."""
    named = inspect.signature(type(model).forward).parameters
    return "cache" if "cache" in named else "past_key_values"


def _sampleable(logits: Tensor) -> Tensor:
    """Return the logits as `sample_tokens` takes them: on their GPU, else on the CPU."""
    if logits.dtype not in (torch.float32, torch.bfloat16):
        logits = logits.float()
    return logits if logits.is_cuda else logits.cpu()


def _decode(
    model: PreTrainedModel,
    prompts: Sequence[Tensor],
    draws: _Draws,
    stops: _Stops,
    rows: Tensor,
    result: Generated,
    on_step: OnStep | None,
) -> None:
    """Fill `rows` of `result`, one per prompt given; they decode until the last has stopped."""
    device, limit = model.device, result.tokens_NT.shape[1]
    tokens, prompt_mask = left_pad(prompts)
    longest, lengths = tokens.shape[1], prompt_mask.sum(-1)
    attention = torch.cat([prompt_mask, prompt_mask.new_ones(len(rows), limit)], -1).to(device)
    alive = torch.ones(len(rows), dtype=torch.bool)
    positions = (prompt_mask.cumsum(-1) - 1).clamp(min=0)
    cache_name = _cache_name(model)
    cache = None
    for t in range(limit):
        output = model(
            input_ids=tokens.to(device),
            attention_mask=attention[:, : longest + t],
            position_ids=positions.to(device),
            use_cache=True,
            logits_to_keep=1,
            **{cache_name: cache},
        )
        cache = getattr(output, cache_name, None)
        if cache is None:
            raise ValueError(
                f"sample_groups: the model must keep a key-value cache; {type(model).__name__} "
                "returns none"
            )
        logits = _sampleable(output.logits[:, -1])
        drawn, logprobs, truncated, entropies = (each.cpu() for each in draws(logits, t))
        live = rows[alive]
        result.tokens_NT[live, t] = drawn[alive]
        result.logprobs_NT[live, t] = logprobs[alive]
        result.truncated_logprobs_NT[live, t] = truncated[alive]
        result.entropies_NT[live, t] = entropies[alive]
        result.lengths_N[live] = t + 1
        stopped = stops(result.tokens_NT, live, t, logits.shape[-1])
        result.stopped_N[live] = stopped
        alive[alive.clone()] = ~stopped
        if on_step is not None:
            finished = int(rows[0]) + int((~alive).sum())
            on_step(int(result.lengths_N.sum()), finished)
        if not alive.any():
            return
        tokens = drawn[:, None]
        positions = (lengths + t)[:, None]


def left_pad(sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return token ids and attention mask, both int64 [rows, longest], padded on the left."""
    longest = max(len(sequence) for sequence in sequences)
    tokens = torch.zeros(len(sequences), longest, dtype=torch.int64)
    attention = torch.zeros_like(tokens)
    for row, sequence in enumerate(sequences):
        tokens[row, longest - len(sequence) :] = sequence
        attention[row, longest - len(sequence) :] = 1
    return tokens, attention

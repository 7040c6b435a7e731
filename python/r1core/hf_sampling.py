"""Sampling through a model's own forward, for any Hugging Face causal LM on any device.

Slower than the engine, and the same contract: Philox numbers by (seed, prompt, sample, position),
the same filters, log-probabilities and entropy per token. The model's own kernels decide the
logits, so their last bits may depend on the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1core.engine import Generated
from r1core.sample_tokens import philox_uniforms, sample_tokens
from r1core.types import SamplingParams

OnStep = Callable[[int, int], object]
"""Called with (completion tokens drawn so far, completions finished so far)."""


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    prompts: Sequence[Tensor],
    params: SamplingParams,
    stop_token_ids: Sequence[int],
    prompt_uids: Sequence[int],
    *,
    on_step: OnStep | None = None,
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
        rows_at_once: completions decoded together.
    """
    was_training = model.training
    model.eval()
    try:
        N, T = len(prompts) * params.n, params.max_new_tokens
        result = Generated.empty(N, T)
        order = [(p, g) for p in range(len(prompts)) for g in range(params.n)]
        for begin in range(0, N, rows_at_once):
            pairs = order[begin : begin + rows_at_once]
            rows = torch.arange(begin, begin + len(pairs))
            _decode(
                model, prompts, params, stop_token_ids, prompt_uids, pairs, rows, result, on_step
            )
        return result.trimmed()
    finally:
        model.train(was_training)


def _decode(
    model: PreTrainedModel,
    prompts: Sequence[Tensor],
    params: SamplingParams,
    stop_token_ids: Sequence[int],
    prompt_uids: Sequence[int],
    pairs: Sequence[tuple[int, int]],
    rows: Tensor,
    result: Generated,
    on_step: OnStep | None,
) -> None:
    """Fill `rows` of `result`, one per (prompt, sample) pair; finished rows stop early together."""
    device = model.device
    tokens, attention = left_pad([prompts[p] for p, _ in pairs])
    lengths = attention.sum(-1)
    uids = torch.tensor([prompt_uids[p] for p, _ in pairs])
    samples = torch.tensor([g for _, g in pairs])
    stops = torch.tensor(list(stop_token_ids), dtype=torch.int64)
    alive = torch.ones(len(pairs), dtype=torch.bool)
    positions = (attention.cumsum(-1) - 1).clamp(min=0)
    cache = None
    for t in range(params.max_new_tokens):
        output = model(
            input_ids=tokens.to(device),
            attention_mask=attention.to(device),
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = getattr(output, "past_key_values", None)
        if cache is None:
            raise ValueError(
                f"sample_groups: the model must keep a key-value cache; {type(model).__name__} "
                "returns none"
            )
        logits = output.logits[:, -1].float().cpu()
        uniforms = philox_uniforms(params.seed % 2**64, uids, samples, torch.full_like(uids, t))
        drawn, logprobs, truncated, entropies = sample_tokens(
            logits,
            uniforms,
            temperature=params.temperature,
            top_k=params.top_k,
            top_p=params.top_p,
            min_p=params.min_p,
        )
        live = rows[alive]
        result.tokens_NT[live, t] = drawn[alive]
        result.logprobs_NT[live, t] = logprobs[alive]
        result.truncated_logprobs_NT[live, t] = truncated[alive]
        result.entropies_NT[live, t] = entropies[alive]
        result.lengths_N[live] = t + 1
        stopped = alive & torch.isin(drawn, stops)
        result.stopped_N[rows[stopped]] = True
        alive &= ~stopped
        if on_step is not None:
            finished = int(rows[0]) + int((~alive).sum())
            on_step(int(result.lengths_N.sum()), finished)
        if not alive.any():
            return
        tokens = drawn[:, None]
        attention = torch.cat([attention, torch.ones(len(pairs), 1, dtype=torch.int64)], -1)
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

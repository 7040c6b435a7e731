"""Grouped sampling with log-probabilities: r1core's engine beside transformers.

Same weights, every completion at its full length, temperature 1. A user of `generate` needs
another forward for the log-probabilities; the engine has them, and the entropies, as it draws. The
peer uses the faster of its two attentions.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from common import Case, Phases, Side, compare, run_topic
from models import GROUP, WORKLOADS, Workload
from torch import Tensor
from transformers import PreTrainedModel

import r1core as r1

AGREE = 1e-4  # nats between the engine's float32 and the module's


def main() -> None:
    run_topic("generate", cases)


def cases(rounds: int) -> Iterator[Case]:
    for size, workload in WORKLOADS.items():
        policy, tokens_PL = workload.policy(), workload.prompt_tokens()
        rollouts = r1.sample_groups(policy, tokens_PL.tolist(), workload.sampling())
        check(policy.model, tokens_PL, rollouts)
        attention = faster_attention(policy.model, workload, tokens_PL)
        yield full(f"{size}: {workload.describe()}", policy, workload, attention, rounds)
        yield first_token(f"{size}: prompt and first token", policy, workload, attention, rounds)


def full(name: str, policy: r1.Policy, workload: Workload, attention: str, rounds: int) -> Case:
    """All the tokens, with their log-probabilities."""
    tokens_PL, params = workload.prompt_tokens(), workload.sampling()

    def ours() -> None:
        r1.sample_groups(policy, tokens_PL.tolist(), params)

    def theirs() -> Phases:
        start = time.perf_counter()
        sequences_NL = generate(policy.model, tokens_PL, workload.new_tokens)
        middle = time.perf_counter()
        score(policy.model, sequences_NL, workload.prompt_length)
        return {"generate": middle - start, "score": time.perf_counter() - middle}

    sides = {"r1core": Side(ours), f"transformers ({attention})": Side(theirs)}
    tokens = workload.prompts * GROUP * workload.new_tokens
    return compare(name, sides, rounds=rounds, memory=True, tokens=tokens)


def first_token(
    name: str, policy: r1.Policy, workload: Workload, attention: str, rounds: int
) -> Case:
    """The prompt's part of the time, without scoring: r1core computes each prompt once."""
    tokens_PL, params = workload.prompt_tokens(), workload.sampling(1)

    def ours() -> None:
        r1.sample_groups(policy, tokens_PL.tolist(), params)

    def theirs() -> None:
        generate(policy.model, tokens_PL, 1)

    sides = {"r1core": Side(ours), f"transformers ({attention})": Side(theirs)}
    return compare(name, sides, rounds=rounds, detail=True)


@torch.no_grad()
def generate(model: PreTrainedModel, tokens_PL: Tensor, new_tokens: int) -> Tensor:
    """Return sequences [N, prompt + new tokens] from transformers."""
    return model.generate(
        tokens_PL,
        attention_mask=torch.ones_like(tokens_PL),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        num_return_sequences=GROUP,
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
    )


@torch.no_grad()
def score(model: PreTrainedModel, sequences_NL: Tensor, prompt_length: int) -> Tensor:
    """Return the completions' log-probabilities [N, new tokens] from one more forward."""
    completions_NT = sequences_NL[:, prompt_length:]
    logits_NTV = model(sequences_NL, logits_to_keep=completions_NT.shape[1] + 1).logits[:, :-1]
    return logits_NTV.log_softmax(-1).gather(-1, completions_NT[..., None]).squeeze(-1)


def check(model: PreTrainedModel, tokens_PL: Tensor, rollouts: r1.Rollouts) -> None:
    """Hold both sides to the same work: full length, and the same log-probabilities."""
    sequences_NL = torch.cat([tokens_PL.repeat_interleave(GROUP, 0), rollouts.tokens_NT], 1)
    logprobs_NT = score(model, sequences_NL, tokens_PL.shape[1])
    assert bool(rollouts.mask_NT.all())
    torch.testing.assert_close(rollouts.logprobs_NT, logprobs_NT, rtol=0, atol=AGREE)


def faster_attention(model: PreTrainedModel, workload: Workload, tokens_PL: Tensor) -> str:
    """Leave the model with whichever attention generates faster, and name it."""
    seconds = {}
    for attention in ("sdpa", "eager"):
        model.set_attn_implementation(attention)
        generate(model, tokens_PL, 1)
        start = time.perf_counter()
        score(model, generate(model, tokens_PL, workload.new_tokens), workload.prompt_length)
        seconds[attention] = time.perf_counter() - start
    fastest = min(seconds, key=lambda name: seconds[name])
    model.set_attn_implementation(fastest)
    return fastest


if __name__ == "__main__":
    main()

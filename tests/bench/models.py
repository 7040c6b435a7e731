"""The two models that topics share: Qwen3, random float32 weights, as in every run of the peers."""

from __future__ import annotations

from typing import NamedTuple

import torch
from transformers import Qwen3Config

import r1core as r1

GROUP = 16


class Workload(NamedTuple):
    """Grouped sampling at fixed lengths: P prompts x 16 completions.

    Attributes:
        config: the model; untied head.
        prompts: P.
        prompt_length: tokens.
        new_tokens: of every completion.
        tokens_per_micro_batch: of r1core's updates.
    """

    config: Qwen3Config
    prompts: int
    prompt_length: int
    new_tokens: int
    tokens_per_micro_batch: int

    def policy(self) -> r1.Policy:
        """Return the policy, the same weights every time."""
        return r1.Policy.from_config(self.config)

    def prompt_tokens(self, *, seed: int = 0) -> torch.Tensor:
        """Return random prompts, int64 [P, prompt length], free of special ids."""
        generator = torch.Generator().manual_seed(seed)
        shape = (self.prompts, self.prompt_length)
        return torch.randint(4, self.config.vocab_size, shape, generator=generator)

    def sampling(self, new_tokens: int | None = None) -> r1.SamplingParams:
        """Return temperature 1 and no stop: every completion has all its tokens."""
        length = self.new_tokens if new_tokens is None else new_tokens
        return r1.SamplingParams(n=GROUP, max_new_tokens=length, stop_token_ids=())

    def matrix_parameters(self) -> int:
        """Return the parameters that a token is multiplied by."""
        named = self.policy().model.named_parameters()
        return sum(p.numel() for name, p in named if p.dim() == 2 and "embed" not in name)

    def describe(self) -> str:
        """Return for instance "32 x 16 completions, 24 + 48 tokens"."""
        return (
            f"{self.prompts} x {GROUP} completions, {self.prompt_length} + {self.new_tokens} tokens"
        )


def _qwen3(**sizes: int) -> Qwen3Config:
    return Qwen3Config(
        **sizes,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


TINY = Workload(  # 0.63M parameters in matrix products: the quickstart's size
    _qwen3(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
    ),
    prompts=32,
    prompt_length=24,
    new_tokens=48,
    tokens_per_micro_batch=4608,  # as many as TRL's 64 completions
)
SMALL = Workload(  # 29.4M
    _qwen3(
        vocab_size=8192,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=64,
    ),
    prompts=4,
    prompt_length=64,
    new_tokens=128,
    tokens_per_micro_batch=2048,  # of which the activations are a gigabyte less than of all
)
WORKLOADS = {"tiny": TINY, "small": SMALL}

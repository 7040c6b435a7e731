"""The stages on which `bench_plan.py` and `test_plan.py` compare prediction and measurement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from r1core.data import Example

PROMPT = 32  # tokens of every prompt
GROUP = 8


@dataclass(frozen=True)
class PlanCase:
    """A model and a stage of it.

    Attributes:
        name: of the case.
        family: of the configuration.
        hidden, layers, vocab: its sizes; heads are 64 wide.
        tied: whether the head is the embedding.
        intermediate, kv_heads: None for three times the width, and for half of the query heads.
        model: further keys of the recipe's [model].
        stage: further keys of its stage.
        prompts, length: questions of a step and tokens of every completion.
    """

    name: str
    family: type[PretrainedConfig] = Qwen3Config
    hidden: int = 256
    layers: int = 4
    vocab: int = 4096
    tied: bool = True
    intermediate: int | None = None
    kv_heads: int | None = None
    prompts: int = 4
    length: int = 96
    model: dict[str, Any] = field(default_factory=dict)
    stage: dict[str, Any] = field(default_factory=dict)

    def config(self) -> PretrainedConfig:
        """Return the model's configuration; nothing ends a completion but its length."""
        return self.family(
            vocab_size=self.vocab,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate or 3 * self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.hidden // 64,
            num_key_value_heads=self.kv_heads or max(1, self.hidden // 128),
            head_dim=64,
            max_position_embeddings=2048,
            tie_word_embeddings=self.tied,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
        )

    def parameters(self) -> int:
        """Return the model's parameters."""
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(self.config())
        return sum(p.numel() for p in model.parameters())

    def recipe(self, path: str, device: str) -> dict[str, Any]:
        """Return the recipe's tables, the model's directory being `path`."""
        stage: dict[str, Any] = {"name": "stage", "from": "base", "data": {"path": "none.jsonl"}}
        if self.stage.get("kind") == "sft":
            stage |= {"batch_size": 16, "epochs": 1, "max_length": PROMPT + self.length}
        else:
            stage |= {
                "kind": "reasoning_rl",
                "rewards": [{"name": "accuracy"}],
                "steps": 2,
                "questions_per_step": self.prompts,
                "sampling": {"n": GROUP, "max_new_tokens": self.length, "stop_token_ids": []},
                "loss": {"preset": "trl", "beta": 0.0},
                "evaluation": {"questions": 1, "samples": 1},
            }
        model = {"path": path, "device": device} | self.model
        return {"name": "plan", "model": model, "stage": [stage | self.stage]}

    def examples(self) -> list[Example]:
        """Return examples of exactly the longest length, two steps of them."""
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(4, self.vocab, (32, PROMPT + self.length), generator=generator).tolist()
        return [Example(row[:PROMPT], row[PROMPT:]) for row in ids]


REFERENCE = {"loss": {"preset": "trl", "beta": 0.04}}
BFLOAT16 = {"dtype": "bfloat16"}
HF = {"forward": "hf"}
LORA = {"lora": {"r": 16}}
CHECKPOINTING = {"gradient_checkpointing": True}
SPLIT = {"tokens_per_micro_batch": 4096}
SHORT = {"tokens_per_micro_batch": 768}


def _small(name: str, **changes: Any) -> PlanCase:
    """Return a case with 3 million parameters, 10 MB in float32, and a second's work."""
    return PlanCase(name, layers=2, vocab=6144, prompts=2, length=64, **changes)


def _medium(name: str, *, family: type[PretrainedConfig] = Qwen3Config, **changes: Any) -> PlanCase:
    """Return a case with 12 million parameters, 46 MB in float32."""
    return PlanCase(name, family, hidden=384, layers=5, vocab=8192, **changes)


_CASES = [
    PlanCase("warm_up", hidden=64, layers=1, vocab=128, prompts=1, length=4),
    _small("small"),
    _small("small, checkpointing", model=CHECKPOINTING),
    _small("small, LoRA, reference", model=LORA, stage=REFERENCE),
    _small("small, bfloat16", model=BFLOAT16, stage=SHORT),
    _small("small, HF", model=HF, stage=SHORT | REFERENCE),
    _small("small, HF, checkpointing", model=HF | CHECKPOINTING),
    PlanCase("long completions", length=512, prompts=2),
    _medium("full", stage=SHORT),
    _medium("full, one micro-batch"),
    _medium("full, reference", stage=SHORT | REFERENCE),
    _medium("full, untied Llama", family=LlamaConfig, tied=False, stage=SHORT),
    _medium("full, checkpointing", model=CHECKPOINTING),
    _medium("bfloat16", model=BFLOAT16, stage=SHORT),
    _medium("bfloat16, reference", model=BFLOAT16, stage=SHORT | REFERENCE),
    _medium("LoRA", model=LORA, stage=REFERENCE),
    _medium("LoRA, bfloat16", model=LORA | BFLOAT16),
    _medium("HF", family=Qwen2Config, model=HF, stage=SHORT),
    _medium("HF, one micro-batch", family=Qwen2Config, model=HF),
    _medium("HF, checkpointing", family=Qwen2Config, model=HF | CHECKPOINTING),
    _medium(
        "HF, bfloat16, reference", family=Qwen2Config, model=HF | BFLOAT16, stage=SHORT | REFERENCE
    ),
    _medium("HF, LoRA", model=HF | LORA),
    _medium("sft", stage={"kind": "sft", "tokens_per_micro_batch": 2048}),
    _medium("ppo", stage=SHORT | {"kind": "ppo"}),
    PlanCase("100 MB", hidden=512, layers=6, vocab=16_384, stage=SHORT | REFERENCE),
]
CASES = {case.name: case for case in _CASES}


def _half_billion(name: str, **changes: Any) -> PlanCase:
    """Return a case on a model of the size of Qwen2-0.5B, in bfloat16."""
    model = BFLOAT16 | changes.pop("model", {})
    return PlanCase(
        name,
        Qwen2Config,
        hidden=896,
        layers=24,
        vocab=151_936,
        intermediate=4864,
        kv_heads=2,
        length=224,
        model=model,
        **changes,
    )


_CUDA_CASES = [
    _half_billion("0.5B, reference", stage=REFERENCE),
    _half_billion("0.5B, reference, two micro-batches", stage=REFERENCE | SPLIT),
    _half_billion("0.5B, checkpointing", model=CHECKPOINTING),
    _half_billion("0.5B, LoRA", model=LORA),
]
CUDA_CASES = {case.name: case for case in _CUDA_CASES}

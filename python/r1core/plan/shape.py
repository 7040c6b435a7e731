"""The sizes of a model, from its configuration alone: no weight is loaded."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
)

from r1core.decoder_spec import plain_decoder
from r1core.hf_head import head_reason
from r1core.load_checks import why_no_directory
from r1core.lora import LoraSettings
from r1core.worlds import load_world
from r1core.worlds.base import TOKENIZER_PAGES, BaseShape, base_config
from r1core.worlds.tokenizer import train_tokenizer


@dataclass(frozen=True)
class ModelShape:
    """What the formulas read of a model; of a mixture of experts, what a token goes through.

    Attributes:
        parameters: all of them, tied ones once.
        largest: elements of the largest tensor.
        vocab, hidden, intermediate, layers, heads, kv_heads, head_dim: as in a configuration.
        head_norms: whether queries and keys have a norm of their own (Qwen3).
        tied: whether the head is the embedding.
        max_context: positions; None where the configuration does not say.
        engine: whether the engine's table describes it.
        plain_head: whether the logits are what the head returns (`hf_head`).
        linears: name, inputs and outputs of every projection but the head.
    """

    parameters: int
    largest: int
    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    head_norms: bool
    tied: bool
    max_context: int | None
    engine: bool
    plain_head: bool
    linears: tuple[tuple[str, int, int], ...]

    @property
    def query(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv(self) -> int:
        """Width of all key heads together; that of the values is the same."""
        return self.kv_heads * self.head_dim

    @property
    def embedding(self) -> int:
        """Elements of the embedding, and of a head."""
        return self.vocab * self.hidden

    @property
    def backbone(self) -> int:
        """Parameters without the head: a critic's or a reward model's."""
        return self.parameters - (0 if self.tied else self.embedding)

    def adapter(self, settings: LoraSettings) -> int:
        """Return the elements of a LoRA adapter: r rows of A and r columns of B a projection."""
        return sum(settings.r * (inputs + outputs) for inputs, outputs in self._targets(settings))

    def adapted(self, settings: LoraSettings) -> int:
        """Return how many projections of a layer have a pair."""
        return -(-len(self._targets(settings)) // max(1, self.layers))

    def _targets(self, settings: LoraSettings) -> list[tuple[int, int]]:
        targets = settings.target_modules
        return [
            (inputs, outputs)
            for name, inputs, outputs in self.linears
            if isinstance(targets, str) or any(f".{name}".endswith(f".{x}") for x in targets)
        ]


def model_shape(config: PretrainedConfig) -> ModelShape:
    """Return the sizes of a causal LM, built on the meta device: in a second, without memory."""
    with torch.device("meta"):  # where eager attention does not ask for a mask's values
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, attn_implementation="eager"
        ).eval()
    text = config.get_text_config()
    head = model.get_output_embeddings()
    heads = int(text.num_attention_heads)
    tied = head is not None and head.weight is model.get_input_embeddings().weight
    return ModelShape(
        parameters=sum(p.numel() for p in model.parameters()),
        largest=max(p.numel() for p in model.parameters()),
        vocab=model.get_input_embeddings().weight.shape[0],
        hidden=int(text.hidden_size),
        intermediate=_intermediate(text),
        layers=int(text.num_hidden_layers),
        heads=heads,
        kv_heads=int(getattr(text, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(text, "head_dim", None) or text.hidden_size // heads),
        head_norms=any(name.endswith("q_norm") for name, _ in model.named_modules()),
        tied=tied,
        max_context=getattr(text, "max_position_embeddings", None),
        engine=plain_decoder(model),
        plain_head=_has_plain_head(model),
        linears=tuple(
            (name, module.in_features, module.out_features)
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module is not head
        ),
    )


def _has_plain_head(model: PreTrainedModel) -> bool:
    """Tell whether the logits are the head's alone; False, the larger plan, where nobody knows."""
    try:
        return head_reason(model) is None
    except Exception:  # noqa: BLE001 - a forward may ask for values, which nothing here has
        return False


def _intermediate(config: Any) -> int:
    """Return the width of what a token's feed-forward layer computes."""
    width = getattr(config, "moe_intermediate_size", None)
    if width is not None:
        shared = getattr(config, "n_shared_experts", None) or 0
        return int(width * (getattr(config, "num_experts_per_tok", 1) + shared))
    width = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    return int(width or 4 * config.hidden_size)


@functools.cache
def checkpoint_shape(path: str) -> ModelShape:
    """Return the sizes of a checkpoint in a directory or on the hub.

    Raises:
        ValueError: no such model.
    """
    what = f"plan: cannot read the configuration of a causal LM from {path}"
    if reason := why_no_directory(path):
        raise ValueError(f"{what}: {reason}")
    try:
        return model_shape(AutoConfig.from_pretrained(path))
    except Exception as error:  # noqa: BLE001 - transformers raises what it likes
        line = " ".join(str(error).split())[:300]
        raise ValueError(f"{what}: {line}") from None


@functools.cache
def world_shape(name: str, seed: int, shape: BaseShape) -> ModelShape:
    """Return the sizes of an embedded world's base, without pretraining it.

    Only its tokenizer is made, in about a second, for the size of its vocabulary.
    """
    world = load_world(name, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer(islice(world.pages(), TOKENIZER_PAGES), world.tags, Path(folder))
        vocab = len(AutoTokenizer.from_pretrained(folder))
    return model_shape(base_config(vocab, shape))

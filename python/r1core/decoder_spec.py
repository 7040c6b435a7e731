"""The engine's table of architectures: which modules it runs, and where their tensors are.

A field of a config that the table does not honour makes the model unsupported, never ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from r1core import _C

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ARCHITECTURES = {
    "gemma": "Gemma",
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
}
"""model_type -> what the names of its classes begin with."""

HEADS = {"ForCausalLM": "lm_head", "ForSequenceClassification": "score"}
"""How the classes' names end that the table describes -> the head, which follows `model`."""

ROPE_TYPES = ("default", "linear", "llama3")
"""Rotary embeddings that are fixed frequencies, whatever the length of the sequence."""

ACTIVATIONS = {
    "silu": _C.Activation.silu,
    "swish": _C.Activation.silu,
    "gelu_pytorch_tanh": _C.Activation.gelu_tanh,
}
"""hidden_act -> what the gate goes through."""

DTYPES = (torch.float32, torch.bfloat16)
"""Of the parameters; everything else is float32."""

EMBEDDINGS = ("Embedding", "GemmaTextScaledWordEmbedding")

PROJECTIONS = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


def unsupported_reason(model: PreTrainedModel) -> str | None:
    """Return why the table does not describe this language model as it is now; None if it does."""
    return _class_reason(model, ("ForCausalLM",)) or unsupported_decoder_reason(model)


def unsupported_decoder_reason(model: PreTrainedModel) -> str | None:
    """Return why the table does not describe what lies below a model's head; None if it does."""
    return _class_reason(model) or _config_reason(model.config) or _module_reason(model)


def plain_decoder(model: PreTrainedModel) -> bool:
    """Tell whether `lm_head` follows `model` directly, and positions alone tell sequences apart."""
    return (_class_reason(model) or _config_reason(model.config)) is None


def _class_reason(model: PreTrainedModel, heads: Iterable[str] = HEADS) -> str | None:
    """Return why the model's class is none of the table's."""
    kind = model.config.model_type
    if kind not in ARCHITECTURES:
        return f"model_type is {kind}, not one of {', '.join(ARCHITECTURES)}"
    expected = [ARCHITECTURES[kind] + head for head in heads]
    if type(model).__name__ not in expected:
        return f"the model is a {type(model).__name__}, not a {' or '.join(expected)}"
    return None


def _config_reason(config: Any) -> str | None:
    """Return the first config field that the engine does not honour."""
    if config.hidden_act not in ACTIVATIONS:
        return f"hidden_act is {config.hidden_act}, not one of {', '.join(ACTIVATIONS)}"
    if getattr(config, "use_bidirectional_attention", None):
        return "use_bidirectional_attention is set"
    rope = config.rope_parameters or {}
    if rope.get("rope_type", "default") not in ROPE_TYPES:
        return f"rope_type is {rope['rope_type']}, not one of {', '.join(ROPE_TYPES)}"
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        return "the rotary embedding covers a part of each head"
    for name in ("attn_logit_softcapping", "final_logit_softcapping", "logit_scale"):
        if getattr(config, name, None) is not None:
            return f"{name} is set"
    kinds = set(getattr(config, "layer_types", None) or ()) - {
        "full_attention",
        "sliding_attention",
    }
    return f"layer_types has {', '.join(sorted(kinds))}" if kinds else None


def _module_reason(model: PreTrainedModel) -> str | None:
    """Return what about the live modules the engine does not honour."""
    rotary = model.model.rotary_emb
    if rotary.attention_scaling != 1.0:
        return f"the rotary embedding scales attention by {rotary.attention_scaling}"
    for name, module in model.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            return f"{name or 'the model'} has a forward hook"
        if "forward" in vars(module):
            return f"{name or 'the model'} has a replaced forward"
        if reason := _peft_reason(module):
            return f"{name} {reason}"
        for own, parameter in module._parameters.items():
            if parameter is not None and (reason := _parameter_reason(parameter)):
                return f"{name}.{own} is {reason}"
    linears = [
        (f"{path} of a layer", _get(layer, path))
        for layer in model.model.layers
        for path in PROJECTIONS.values()
    ]
    heads = [(head, getattr(model, head)) for head in HEADS.values() if hasattr(model, head)]
    for name, module in [*linears, *heads]:
        if not _is_lora(module) and type(module) is not nn.Linear:
            return f"{name} is a {type(module).__name__}, not a Linear"
    if type(model.model.embed_tokens).__name__ not in EMBEDDINGS:
        return f"the embedding is a {type(model.model.embed_tokens).__name__}"
    return None


def _parameter_reason(parameter: torch.Tensor) -> str | None:
    if not parameter.is_cpu or parameter.dtype not in DTYPES:
        return f"{parameter.dtype} on {parameter.device}, not float32 or bfloat16 on the CPU"
    if type(parameter.data) is not torch.Tensor or not parameter.is_contiguous():
        return "not a plain contiguous tensor"
    return None


def _is_lora(module: nn.Module) -> bool:
    """Return whether this is peft's LoRA of a Linear, without importing peft."""
    kind = type(module)
    return kind.__module__ == "peft.tuners.lora.layer" and kind.__name__ == "Linear"


def _active_adapters(module: Any) -> list[str]:
    """Return the adapters that a LoRA layer adds to its base as it is now."""
    if module.disable_adapters:
        return []
    return [name for name in module.active_adapters if name in module.lora_A]


def _peft_reason(module: Any) -> str | None:
    """Return what about a module of peft the engine does not honour."""
    if not type(module).__module__.startswith("peft."):
        return None
    if not _is_lora(module):
        return f"is peft's {type(module).__name__}, not LoRA of a Linear"
    if type(module.base_layer) is not nn.Linear:
        return f"adapts a {type(module.base_layer).__name__}, not a Linear"
    if module.merged:
        return "has a merged adapter"
    if module.fan_in_fan_out:
        return "has fan_in_fan_out"
    active = _active_adapters(module)
    if len(active) > 1:
        return f"has {len(active)} active adapters: {', '.join(active)}"
    for name in active:
        if module.lora_variant.get(name) is not None:
            return f"has a {type(module.lora_variant[name]).__name__}"
        if module.lora_B[name].bias is not None:
            return "has a lora_bias"
    return None


def decoder_spec(model: PreTrainedModel) -> _C.DecoderSpec:
    """Return the engine's table of a language model's parameters as they are now.

    Matrices are never copied; vectors are, where they are not float32 or not what the norm
    multiplies by.
    """
    spec = headless_spec(model)
    spec.head = head_spec(model)
    return spec


def head_spec(model: PreTrainedModel) -> _C.Linear:
    """Return the language model's head in the same way."""
    return _linear(model.lm_head)


def headless_spec(model: PreTrainedModel) -> _C.DecoderSpec:
    """Return the table without a head, of any model that the table describes."""
    config, decoder = model.config, model.model
    spec = _C.DecoderSpec()
    attention = decoder.layers[0].self_attn if len(decoder.layers) else None
    spec.heads = config.num_attention_heads
    spec.kv_heads = config.num_key_value_heads
    spec.head_dim = attention.head_dim if attention is not None else 2
    spec.max_positions = config.max_position_embeddings
    spec.norm_eps = config.rms_norm_eps
    spec.inverse_frequencies = decoder.rotary_emb.inv_freq.float().cpu().contiguous()
    spec.embedding = decoder.embed_tokens.weight
    if config.model_type == "gemma":
        spec.embedding_scale = float(decoder.embed_tokens.embed_scale.to(spec.embedding.dtype))
    spec.activation = ACTIVATIONS[config.hidden_act]
    spec.final_norm = _norm(config, decoder.norm)
    spec.layers = [_layer(config, i, layer) for i, layer in enumerate(decoder.layers)]
    return spec


def _layer(config: Any, index: int, layer: nn.Module) -> _C.LayerSpec:
    spec = _C.LayerSpec()
    for name, path in PROJECTIONS.items():
        setattr(spec, name, _linear(_get(layer, path)))
    spec.input_norm = _norm(config, _get(layer, "input_layernorm"))
    spec.feed_forward_norm = _norm(config, _get(layer, "post_attention_layernorm"))
    attention = _get(layer, "self_attn")
    if config.model_type == "qwen3":
        spec.query_norm = _norm(config, attention.q_norm)
        spec.key_norm = _norm(config, attention.k_norm)
    spec.window = _window(config, index)
    return spec


def _window(config: Any, index: int) -> int:
    """Return how many positions a query of this layer sees; 0 sees all."""
    window = getattr(config, "sliding_window", None)
    if config.model_type in ("llama", "gemma") or window is None:
        return 0
    if config.model_type == "mistral" or config.layer_types[index] == "sliding_attention":
        return int(window)
    return 0


def _linear(module: Any) -> _C.Linear:
    base = module.base_layer if _is_lora(module) else module
    active = _active_adapters(module) if _is_lora(module) else []
    pairs = [
        _C.LowRank(module.lora_A[name].weight, module.lora_B[name].weight, module.scaling[name])
        for name in active
    ]
    bias = None if base.bias is None else base.bias.float()
    return _C.Linear(base.weight, bias, pairs[0] if pairs else None)


def _norm(config: Any, module: nn.Module) -> torch.Tensor:
    """Return what an RMSNorm multiplies by: its weight, in Gemma one more than that."""
    weight = cast(torch.Tensor, module.weight).float()
    return 1 + weight if config.model_type == "gemma" else weight


def decoder_parameters(model: PreTrainedModel) -> list[torch.Tensor]:
    """Return the module's own parameters in the order of `_C.parameters_of`: all but the head's."""
    decoder = model.model
    found = [decoder.embed_tokens.weight]
    for layer in decoder.layers:
        found.append(_get(layer, "input_layernorm").weight)
        for name in ("query", "key", "value", "output"):
            found += _linear_parameters(_get(layer, PROJECTIONS[name]))
        if model.config.model_type == "qwen3":
            attention = _get(layer, "self_attn")
            found += [attention.q_norm.weight, attention.k_norm.weight]
        found.append(_get(layer, "post_attention_layernorm").weight)
        for name in ("gate", "up", "down"):
            found += _linear_parameters(_get(layer, PROJECTIONS[name]))
    return [*found, decoder.norm.weight]


def head_parameters(model: PreTrainedModel) -> list[torch.Tensor]:
    """Return the head's weight, and its bias and low-rank pair as far as it has them."""
    return _linear_parameters(model.lm_head)


def _linear_parameters(module: Any) -> list[torch.Tensor]:
    base = module.base_layer if _is_lora(module) else module
    active = _active_adapters(module) if _is_lora(module) else []
    pairs = [p for name in active for p in (module.lora_A[name].weight, module.lora_B[name].weight)]
    return [base.weight, *([] if base.bias is None else [base.bias]), *pairs]


def _get(module: nn.Module, path: str) -> Any:
    return attrgetter(path)(module)

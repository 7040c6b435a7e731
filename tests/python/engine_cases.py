"""What the engine's tests share: models of every family, prompts, and one way to call it."""

import torch
from models import SIZES
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from r1core.engine import Generated
from r1core.types import SamplingParams

V = 97
BASE = SIZES | {"vocab_size": V, "initializer_range": 0.2, "pad_token_id": None}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
CONFIGS = {
    "gemma": GemmaConfig(**BASE, head_dim=16),
    "llama": LlamaConfig(**BASE),
    "llama_tied": LlamaConfig(**BASE, tie_word_embeddings=True),
    "llama_biases": LlamaConfig(**BASE, attention_bias=True, mlp_bias=True),
    "llama3_rope": LlamaConfig(**BASE, rope_parameters=LLAMA3),
    "llama_linear_rope": LlamaConfig(
        **BASE, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}
    ),
    "llama_odd_sizes": LlamaConfig(
        **BASE | {"hidden_size": 40, "intermediate_size": 37, "head_dim": 22}
    ),
    "qwen2": Qwen2Config(**BASE),
    "qwen2_window": Qwen2Config(
        **BASE, use_sliding_window=True, sliding_window=5, max_window_layers=1
    ),
    "qwen3": Qwen3Config(**BASE, head_dim=16),
    "qwen3_tied_bias": Qwen3Config(
        **BASE, head_dim=32, attention_bias=True, tie_word_embeddings=True
    ),
    "mistral": MistralConfig(**BASE, sliding_window=None),
    "mistral_window": MistralConfig(**BASE, sliding_window=7),
}
UIDS = [11, 7, 3]


def build(config, dtype=torch.float32):
    """Return a random model of a config or its name; biases too, which initialise to 0."""
    torch.manual_seed(1)
    config = CONFIGS[config] if isinstance(config, str) else config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.to(dtype)


def prompts_of(*lengths):
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(0, V, (length,), generator=generator) for length in lengths]


PROMPTS = prompts_of(5, 1, 70)
PARAMS = SamplingParams(n=5, max_new_tokens=20, temperature=0.8, seed=9)
STOPS = (3, 20, 30, 40, 50, 60, 70)


def generate(engine, prompts=PROMPTS, params=PARAMS, stops=STOPS, uids=UIDS, **how):
    return engine.generate(prompts, params, stops, uids, **how)


def sequences_of(generated, prompts, n):
    rows = zip(generated.tokens_NT, generated.lengths_N.tolist(), strict=True)
    return [torch.cat([prompts[i // n], row[:length]]) for i, (row, length) in enumerate(rows)]


def assert_same_bits(left: Generated, right: Generated):
    for name, a, b in zip(Generated._fields[:-1], left[:-1], right[:-1], strict=True):
        assert torch.equal(a, b), name
    assert left.trace is right.trace is None  # not asked for

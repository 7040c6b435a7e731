"""Small random models of many families, which only their own forward trains here."""

from copy import deepcopy

import torch
import transformers as hf
from torch import nn

from r1core import lora
from r1core.policy import Policy
from r1core.sampling import sample_groups
from r1core.types import SamplingParams

VOCAB = 97
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}
GPT = {
    "vocab_size": VOCAB,
    "n_positions": 128,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "bos_token_id": None,
    "eos_token_id": None,
}
MLA = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}

PLAIN = {
    "llama": hf.LlamaConfig(**SIZES),
    "llama_tied": hf.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "qwen2": hf.Qwen2Config(**SIZES),
    "qwen3": hf.Qwen3Config(**SIZES, head_dim=16),
    "mistral": hf.MistralConfig(**SIZES),
    "gemma": hf.GemmaConfig(**SIZES, head_dim=8),
    "gemma3": hf.Gemma3TextConfig(**SIZES, head_dim=8),
    "phi": hf.PhiConfig(**SIZES),  # its head has a bias
    "phi3": hf.Phi3Config(**SIZES),
    "olmo2": hf.Olmo2Config(**SIZES),
    "gpt2": hf.GPT2Config(**GPT),  # tied
    "gpt_neox": hf.GPTNeoXConfig(**SIZES),
    "deepseek_v3": hf.DeepseekV3Config(**SIZES | MLA),
}
"""Their logits are what their head returns."""

MORE = {
    "gemma2": hf.Gemma2Config(**SIZES, head_dim=8),  # final_logit_softcapping
    "cohere": hf.CohereConfig(**SIZES, logit_scale=0.25),
    "granite": hf.GraniteConfig(**SIZES, logits_scaling=3.0),
    "falcon_h1": hf.FalconH1Config(
        **SIZES,
        lm_head_multiplier=0.5,
        mamba_d_ssm=32,
        mamba_n_heads=4,
        mamba_d_head=8,
        mamba_d_state=8,
        mamba_chunk_size=8,
    ),
}
"""They do more to logits."""


def family(name, adapter=False):
    """Return a policy of a family that its own forward trains; a bias is not 0."""
    policy = Policy.from_config(deepcopy((PLAIN | MORE)[name]), seed=3)  # which the model keeps
    policy.forward = "hf"
    generator = torch.Generator().manual_seed(4)
    head = policy.model.get_output_embeddings()
    if isinstance(head, nn.Linear) and head.bias is not None:
        head.bias.data.normal_(generator=generator)
    if adapter:
        lora.add_lora(policy, lora.LoraSettings(r=3), seed=1)
        with torch.no_grad():
            for parameter in lora.adapter_parameters(policy).values():
                parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return policy


def rollouts_of(policy):
    """Return completions of several lengths, each a group of its own."""
    params = SamplingParams(n=3, max_new_tokens=12, temperature=0.8, stop_token_ids=(3, 20, 30, 40))
    prompts = [[5, 6, 7, 8], [9], [11, 12, 13, 14, 15, 16, 17]]
    rollouts = sample_groups(policy, prompts, params)
    return rollouts.rows(torch.arange(rollouts.num_rows))

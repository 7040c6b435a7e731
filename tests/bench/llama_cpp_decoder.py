"""llama.cpp's batched decode through its C interface: the same weights as a float32 GGUF file."""

from __future__ import annotations

import ctypes
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
from models import GROUP, Workload
from torch import Tensor
from transformers import PreTrainedModel

TENSORS = {  # Hugging Face's name -> GGUF's
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}
FLOAT32 = 0  # ggml's type number
BATCH = 2048


def write_gguf(model: PreTrainedModel, path: Path) -> None:
    """Write a Qwen3 model as float32 GGUF, without a tokenizer."""
    config = model.config
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")
    for name, tensor in model.state_dict().items():
        writer.add_tensor(gguf_name(name), tensor.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str) -> str:
    """Return for instance "blk.3.attn_q.weight" for "model.layers.3.self_attn.q_proj.weight"."""
    stem = name.removesuffix(".weight")
    if not stem.startswith("model.layers."):
        return f"{TENSORS[stem]}.weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{TENSORS[rest]}.weight"


class Decoder:
    """P prompts x 16 sequences that share their prompt's cache."""

    def __init__(self, path: Path, workload: Workload, tokens_PL: Tensor, threads: int) -> None:
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
        self._prompts, self._workload = tokens_PL.tolist(), workload
        self._rows = workload.prompts * GROUP
        self._context = llama_cpp.llama_init_from_model(self._model, self._settings(threads))
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        self._samplers = [self._sampler(seed) for seed in range(self._rows)]

    def _settings(self, threads: int) -> llama_cpp.llama_context_params:
        settings = llama_cpp.llama_context_default_params()
        length = self._workload.prompt_length + self._workload.new_tokens
        settings.n_ctx = self._rows * (length + 16)
        settings.n_batch, settings.n_ubatch, settings.n_seq_max = BATCH, 512, self._rows
        settings.n_threads = settings.n_threads_batch = threads
        settings.type_k = settings.type_v = FLOAT32
        settings.flash_attn_type = 0
        settings.kv_unified = False  # with one shared cache, attention reads every sequence's keys
        return settings

    @staticmethod
    def _sampler(seed: int) -> ctypes.c_void_p:
        """Return temperature 1 and a draw from the whole distribution."""
        chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_temp(1.0))
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_dist(seed))
        return chain

    def generate(self, *, sample: bool) -> None:
        """Decode all sequences to full length; without `sample`, every next token is id 5."""
        self._read_prompts()
        tokens = [5] * self._rows
        for t in range(self._workload.new_tokens):
            for row, token in enumerate(tokens):
                self._put(row, token, self._workload.prompt_length + t, row, logits=True)
            self._decode(self._rows)
            if sample:
                tokens = [
                    llama_cpp.llama_sampler_sample(sampler, self._context, row)
                    for row, sampler in enumerate(self._samplers)
                ]

    def prompt_logits(self) -> np.ndarray:
        """Return float32 [V] after the last prompt's last token."""
        self._read_prompts()
        logits = llama_cpp.llama_get_logits_ith(self._context, self._workload.prompt_length - 1)
        return np.array(np.ctypeslib.as_array(logits, (self._workload.config.vocab_size,)))

    def _read_prompts(self) -> None:
        llama_cpp.llama_memory_clear(self._memory, True)
        for p, prompt in enumerate(self._prompts):
            for position, token in enumerate(prompt):
                last = position == len(prompt) - 1
                self._put(position, token, position, p * GROUP, logits=last)
            self._decode(len(prompt))
            for row in range(p * GROUP + 1, (p + 1) * GROUP):
                llama_cpp.llama_memory_seq_cp(self._memory, p * GROUP, row, -1, -1)

    def _put(self, index: int, token: int, position: int, sequence: int, *, logits: bool) -> None:
        batch = self._batch
        batch.token[index], batch.pos[index], batch.logits[index] = token, position, logits
        batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence

    def _decode(self, count: int) -> None:
        self._batch.n_tokens = count
        if status := llama_cpp.llama_decode(self._context, self._batch):
            raise RuntimeError(f"llama_decode: {status}")
        llama_cpp.llama_synchronize(self._context)

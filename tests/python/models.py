"""Small models and real tokenizer files, made on the spot: no test downloads anything."""

import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Tokenizer,
    Qwen3Config,
)

from r1core.policy import Policy

TEXT = [
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many in May.",
    "<think> 48 / 2 = 24 and 48 + 24 = 72 </think><answer> 72 </answer>",
    "A conversation between User and Assistant. The user asks a question.",
    "Une réponse, 一个答案, eine Antwort: 1234567890 + - * / = ( ) \\boxed{}",
]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def byte_bpe(specials):
    """Train a byte-level BPE on TEXT."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    return tokenizer


def qwen_tokenizer():
    """Return a tokenizer like Qwen's: no BOS, a chat template, two stop tokens."""
    bpe = json.loads(byte_bpe(["<|endoftext|>", "<|im_start|>", "<|im_end|>"]).to_str())["model"]
    return Qwen2Tokenizer(
        vocab=bpe["vocab"],
        merges=[tuple(pair) for pair in bpe["merges"]],
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=CHATML,
    )


def llama_tokenizer():
    """Return a tokenizer like Llama's: it adds a BOS by itself and has no chat template."""
    tokenizer = byte_bpe(["<|begin_of_text|>", "<|end_of_text|>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>"
    )


def qwen2_policy(**changes):
    """Return a random Qwen2 with its tokenizer; generation stops at either end token."""
    tokenizer = qwen_tokenizer()
    policy = Policy.from_config(
        Qwen2Config(vocab_size=len(tokenizer), bos_token_id=None, **(SIZES | changes)), tokenizer
    )
    policy.model.generation_config.eos_token_id = [2, 0]
    return policy


def llama_policy(**changes):
    """Return a random Llama with its tokenizer."""
    tokenizer = llama_tokenizer()
    return Policy.from_config(
        LlamaConfig(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1, **(SIZES | changes)),
        tokenizer,
    )


def qwen3_policy(vocab_size=97, **changes):
    """Return a random Qwen3 without a tokenizer."""
    sizes = SIZES | {"head_dim": 16} | changes
    return Policy.from_config(
        Qwen3Config(vocab_size=vocab_size, bos_token_id=None, eos_token_id=None, **sizes)
    )


def gpt2_policy(vocab_size=97):
    """Return a random GPT-2, a family that only its own forward can sample from."""
    return Policy.from_config(
        GPT2Config(
            vocab_size=vocab_size,
            n_positions=128,
            n_embd=32,
            n_layer=2,
            n_head=4,
            bos_token_id=None,
            eos_token_id=None,
        )
    )

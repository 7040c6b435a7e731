"""A world's tokenizer: SentencePiece trained on its pages, saved as a Hugging Face directory.

`tokenizer.model` is the only source of the ids; AutoTokenizer reads it through `LlamaTokenizer`,
and both give the same ids for every text that does not spell a control token ("</s>"), which
Hugging Face recognises in text and SentencePiece does not. Bytes are the fallback, so that any
text can be encoded.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

UNK, BOS, EOS, PAD = "<unk>", "<s>", "</s>", "<pad>"
UNK_ID, BOS_ID, EOS_ID, PAD_ID = range(4)
MAX_VOCAB_SIZE = 2048  # an upper limit: training stops where every word of the pages is one piece

# A question is its text and the cue " A:"; a reply follows and ends with the stop token.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ ' A:' + message['content'] + eos_token }}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ ' A:' }}{% endif %}"
)


def train_tokenizer(pages: Iterable[str], tags: Sequence[str], directory: Path) -> None:
    """Train on `pages` and write tokenizer.model and tokenizer_config.json.

    Training is deterministic (one thread). Text is taken as it is: no normalisation, no dummy
    prefix, no whitespace removed; tags are single tokens wherever they appear.

    Args:
        pages: the corpus, or enough of it to show every word.
        tags: user-defined symbols.
        directory: where to write; must exist.
    """
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(pages),
        model_writer=model,
        model_type="bpe",
        vocab_size=MAX_VOCAB_SIZE,
        hard_vocab_limit=False,
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        user_defined_symbols=list(tags),
        unk_id=UNK_ID,
        bos_id=BOS_ID,
        eos_id=EOS_ID,
        pad_id=PAD_ID,
        unk_piece=UNK,
        bos_piece=BOS,
        eos_piece=EOS,
        pad_piece=PAD,
        num_threads=1,
        minloglevel=2,
    )
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": UNK,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "add_bos_token": False,
        "add_eos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "legacy": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (directory / "tokenizer.model").write_bytes(model.getvalue())
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")

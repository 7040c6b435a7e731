"""Grouped sampling on the small model: r1core's engine beside llama.cpp's batched decode.

Both read each prompt once and keep float32 weights and caches. llama.cpp gives no
log-probabilities; r1core does. `make bench-llama` builds the peer; without it this topic says so
and keeps what an earlier run measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import torch
from common import Case, Side, compare, run_topic
from models import GROUP, SMALL

import r1core as r1

AGREE = 1e-4  # of the logits


def main() -> None:
    if util.find_spec("llama_cpp") is None:
        print("llama_cpp: skipped, llama-cpp-python is not installed (make bench-llama)")
        return
    run_topic("llama_cpp", cases)


def cases(rounds: int) -> Iterator[Case]:
    from llama_cpp_decoder import Decoder, write_gguf

    policy, tokens_PL = SMALL.policy(), SMALL.prompt_tokens()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.gguf"
        write_gguf(policy.model, path)
        decoder = Decoder(path, SMALL, tokens_PL, torch.get_num_threads())
        with torch.no_grad():
            expected_V = policy.model(tokens_PL[-1:]).logits[0, -1]
        logits_V = torch.from_numpy(decoder.prompt_logits())
        torch.testing.assert_close(logits_V, expected_V, rtol=0, atol=AGREE)
        params = SMALL.sampling()
        sides = {
            "r1core": Side(lambda: r1.sample_groups(policy, tokens_PL.tolist(), params)),
            "llama.cpp": Side(lambda: decoder.generate(sample=True)),
            "llama.cpp without sampling": Side(lambda: decoder.generate(sample=False)),
        }
        tokens = SMALL.prompts * GROUP * SMALL.new_tokens
        yield compare(f"small: {SMALL.describe()}", sides, rounds=rounds, tokens=tokens)


if __name__ == "__main__":
    main()

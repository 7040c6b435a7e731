"""Draw one token a row: r1core's kernel beside torch's softmax + multinomial.

Each side takes float32 logits. r1core also returns the log-probability, the filtered one and the
entropy; the peers return the token alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from common import Case, Side, compare, run_topic
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopPLogitsWarper

import r1core as r1

SHAPES = ((512, 512), (64, 8192), (64, 151_936))
TEMPERATURE, TOP_P = 0.6, 0.95


def main() -> None:
    run_topic("sample_tokens", cases)


def cases(rounds: int) -> Iterator[Case]:
    for N, V in SHAPES:
        logits_NV = 2 * torch.randn(N, V, generator=torch.Generator().manual_seed(0))
        row_N = torch.arange(N)
        uniforms_N = r1.philox_uniforms(0, row_N, row_N, row_N)
        yield plain(logits_NV, uniforms_N, rounds)
        yield nucleus(logits_NV, uniforms_N, rounds)


def plain(logits_NV: Tensor, uniforms_N: Tensor, rounds: int) -> Case:
    """Temperature 1, no filter."""
    tokens_N, logprobs_N, _, _ = r1.sample_tokens(logits_NV, uniforms_N)
    expected_N = logits_NV.log_softmax(-1).gather(-1, tokens_N[:, None]).squeeze(-1)
    torch.testing.assert_close(logprobs_N, expected_N, rtol=1e-5, atol=1e-5)
    sides = {
        "r1core": Side(lambda: r1.sample_tokens(logits_NV, uniforms_N)),
        "torch softmax + multinomial": Side(lambda: logits_NV.softmax(-1).multinomial(1)),
    }
    return compare(f"{list(logits_NV.shape)}", sides, rounds=2 * rounds)


def nucleus(logits_NV: Tensor, uniforms_N: Tensor, rounds: int) -> Case:
    """Temperature 0.6 and top-p 0.95, as transformers does them."""
    options = {"temperature": TEMPERATURE, "top_p": TOP_P}
    temper, keep_nucleus = TemperatureLogitsWarper(TEMPERATURE), TopPLogitsWarper(TOP_P)

    def filtered() -> Tensor:
        return keep_nucleus(None, temper(None, logits_NV))

    tokens_N, _, logprobs_N, _ = r1.sample_tokens(logits_NV, uniforms_N, **options)
    expected_N = filtered().log_softmax(-1).gather(-1, tokens_N[:, None]).squeeze(-1)
    # transformers sums the nucleus in float32, so its edge may be a token off: mass 1e-5 or less
    torch.testing.assert_close(logprobs_N, expected_N, rtol=1e-4, atol=1e-4)
    sides = {
        "r1core": Side(lambda: r1.sample_tokens(logits_NV, uniforms_N, **options)),
        "transformers' warpers + multinomial": Side(lambda: filtered().softmax(-1).multinomial(1)),
    }
    name = f"{list(logits_NV.shape)}, temperature {TEMPERATURE}, top-p {TOP_P}"
    return compare(name, sides, rounds=2 * rounds)


if __name__ == "__main__":
    main()

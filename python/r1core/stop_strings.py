"""Strings that end a completion, found where they appear in its text."""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

REPLACEMENT = "\ufffd"
"""What a tokenizer writes for a part of a character: a later token may complete any."""


class StopStrings:
    """Tells when a completion's text holds one of some strings.

    A text need not grow token by token, so only decoding tells; and decoding costs more than
    drawing a token from a small model, so it waits for a token that may complete a string.
    """

    def __init__(self, tokenizer: Any, strings: Sequence[str]) -> None:
        """Look for `strings` in what `tokenizer` decodes.

        Raises:
            ValueError: a string is empty.
        """
        if "" in strings:
            raise ValueError("StopStrings: strings must not be empty; got ''")
        self.tokenizer = tokenizer
        self.strings = tuple(strings)

    def may_end(self, vocab_size: int) -> Tensor:
        """Return the ids after which `ends` is worth asking, bool [vocab_size].

        Those whose own text holds the last character of a string, and those that are part of one.
        """
        return _may_end(self.tokenizer, frozenset(s[-1] for s in self.strings), vocab_size)

    def ends(self, tokens: Tensor) -> bool:
        """Return whether the text of a completion so far, int64 [length], holds a string."""
        text = self.tokenizer.decode(tokens.tolist())
        return any(string in text for string in self.strings)

    def length(self, tokens: Tensor) -> int | None:
        """Return how many of the tokens it takes until the text holds a string; None: all don't.

        A text that holds one goes on holding it, so a few prefixes are decoded, not all.
        """
        if not self.ends(tokens):
            return None
        if not self.ends(tokens[:-1]):  # as a rule: the sampler stopped there
            return len(tokens)
        return bisect_left(range(len(tokens)), True, key=lambda n: self.ends(tokens[:n]))


@functools.lru_cache(maxsize=8)
def _may_end(tokenizer: Any, last_characters: frozenset[str], vocab_size: int) -> Tensor:
    pieces = tokenizer.batch_decode([[i] for i in range(vocab_size)])
    wanted = last_characters | {REPLACEMENT}
    return torch.tensor([not wanted.isdisjoint(piece) for piece in pieces])

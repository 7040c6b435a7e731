"""The gate of a world's base: can it reason when made to?"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from r1core.stages.packing import IGNORE
from r1core.worlds import World

# Far beyond the pages that pretraining reads, and not from the eval split.
FIRST_PROBLEM = 1 << 30


class ForcedThinking:
    """Forced-thinking accuracy: the share of questions answered once made to think.

    The reply is opened with the world's cue (`<think> a`) and must go on, greedily, exactly as the
    worked page does, steps, answer and stop token. Since greedy decoding is asked for one known
    text, a single forward pass over that text decides it: decoding writes the text if and only if
    each of its tokens is the most likely one after those before it.

    Where a page holds free choices (a row with `parts`: a choice, what follows from it, a choice,
    ...), the choices are given too, and only what follows from them must be most likely.
    """

    def __init__(self, world: World, tokenizer: PreTrainedTokenizerBase, count: int = 128) -> None:
        """Take `count` problems of the train split that pretraining does not reach."""
        rows = world.problems("train", FIRST_PROBLEM, count)
        encoded = [self._encode(row, world.cue, tokenizer) for row in rows]
        T = max(len(ids) for ids, _ in encoded)
        self.tokens_BT = torch.zeros(count, T, dtype=torch.int64)
        self.targets_BT = torch.full((count, T), IGNORE)
        for row, (ids, labels) in enumerate(encoded):
            # Padding on the right is invisible to the tokens before it: no mask needed.
            self.tokens_BT[row, : len(ids)] = torch.tensor(ids)
            self.targets_BT[row, : len(ids) - 1] = torch.tensor(labels[1:])

    @staticmethod
    def _encode(
        row: dict[str, Any], cue: str, tokenizer: PreTrainedTokenizerBase
    ) -> tuple[list[int], list[int]]:
        """Return the worked page's ids, and the same with the given ones as IGNORE."""
        given = row["prompt"] + cue
        ids: list[int] = []
        labels: list[int] = []
        for number, part in enumerate(row.get("parts") or [given, row["text"][len(given) :]]):
            part_ids = tokenizer.encode(part, add_special_tokens=False)
            ids += part_ids
            labels += part_ids if number % 2 else [IGNORE] * len(part_ids)
        return [*ids, tokenizer.eos_token_id], [*labels, tokenizer.eos_token_id]

    @torch.no_grad()
    def __call__(self, model: PreTrainedModel) -> float:
        """Return the share of replies that the model completes without an error; in [0, 1]."""
        logits_BTV = model(input_ids=self.tokens_BT, use_cache=False).logits
        right_BT = (logits_BTV.argmax(-1) == self.targets_BT) | (self.targets_BT == IGNORE)
        return float(right_BT.all(dim=1).float().mean())

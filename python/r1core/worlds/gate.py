"""The gate of a world's base: can it reason when made to?"""

from __future__ import annotations

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
    """

    def __init__(self, world: World, tokenizer: PreTrainedTokenizerBase, count: int = 128) -> None:
        """Take `count` problems of the train split that pretraining does not reach."""
        rows = world.problems("train", FIRST_PROBLEM, count)
        encoded = [self._encode(row, world.cue, tokenizer) for row in rows]
        T = max(len(ids) for ids, _ in encoded)
        self.tokens_BT = torch.zeros(count, T, dtype=torch.int64)
        self.targets_BT = torch.full((count, T), IGNORE)
        for row, (ids, start) in enumerate(encoded):
            # Padding on the right is invisible to the tokens before it: no mask needed.
            self.tokens_BT[row, : len(ids)] = torch.tensor(ids)
            self.targets_BT[row, start - 1 : len(ids) - 1] = torch.tensor(ids[start:])

    @staticmethod
    def _encode(
        row: dict[str, str], cue: str, tokenizer: PreTrainedTokenizerBase
    ) -> tuple[list[int], int]:
        """Return the worked page's ids and how many of them are given."""
        given = tokenizer.encode(row["prompt"] + cue, add_special_tokens=False)
        ids = tokenizer.encode(row["text"], add_special_tokens=False) + [tokenizer.eos_token_id]
        return ids, len(given)

    @torch.no_grad()
    def __call__(self, model: PreTrainedModel) -> float:
        """Return the share of replies that the model completes without an error; in [0, 1]."""
        logits_BTV = model(input_ids=self.tokens_BT, use_cache=False).logits
        right_BT = (logits_BTV.argmax(-1) == self.targets_BT) | (self.targets_BT == IGNORE)
        return float(right_BT.all(dim=1).float().mean())

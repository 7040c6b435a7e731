"""How many tokens one pass holds: the stage's batches and micro-batches at their longest.

Nobody knows how long completions will be, so all are taken to reach their limit.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tokens:
    """What one forward pass runs on.

    Attributes:
        prompts: prompts that are computed.
        sequences: completions.
        prompt: tokens of each prompt.
        completion: tokens of each completion.
        shared: whether a group's prompt is computed once (the engine), not once a completion.
        masked: whether sequences share a row, which takes an attention mask.
    """

    prompts: int
    sequences: int
    prompt: int
    completion: int
    shared: bool
    masked: bool = False

    @property
    def rows(self) -> int:
        """Positions that run; the engine leaves out a completion's last, which predicts nothing."""
        if self.shared:
            return self.prompts * self.prompt + self.sequences * max(0, self.completion - 1)
        return self.sequences * self.columns

    @property
    def columns(self) -> int:
        """Positions of a sequence."""
        return self.prompt + self.completion

    @property
    def targets(self) -> int:
        """Positions that the head runs on."""
        return self.sequences * self.completion


def micro_batch(
    budget: int, groups: int, group_size: int, prompt: int, completion: int, *, shared: bool
) -> Tokens:
    """Return the largest micro-batch under a budget of tokens, as `stages.minibatches` splits.

    A sequence longer than the budget is a micro-batch of its own.

    Args:
        budget: `tokens_per_micro_batch`.
        groups: prompts of an update.
        group_size: completions of each.
        prompt: tokens.
        completion: tokens.
        shared: whether a group's prompt counts and is computed once.
    """
    if not shared:
        rows = max(1, budget // (prompt + completion))
        rows = min(rows, groups * group_size)
        return Tokens(rows, rows, prompt, completion, shared, masked=True)
    group = prompt + group_size * completion
    whole = min(groups, budget // group)
    left = budget - whole * group - prompt
    extra = 0 if whole == groups else min(group_size, max(0, left) // completion)
    if whole == 0:
        extra = max(1, extra)
    return Tokens(whole + (extra > 0), whole * group_size + extra, prompt, completion, shared)


def micro_batches(tokens: Tokens, groups: int, group_size: int) -> int:
    """Return how many such micro-batches an update has."""
    return -(-groups * group_size // max(1, tokens.sequences))


def last_share(tokens: Tokens, groups: int, group_size: int) -> float:
    """Return how large the last micro-batch is beside the others; 0 where all are alike."""
    return groups * group_size % max(1, tokens.sequences) / max(1, tokens.sequences)

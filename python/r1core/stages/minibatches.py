"""From a batch of rollouts to what one forward and backward pass takes.

rollout batch -> minibatches, one per update, at random -> micro-batches under a budget of tokens.
The ratio of a minibatch compares with `old` log-probabilities: those of the policy that sampled,
from the trainer's own forward, computed before the first update (DESIGN: never the sampler's).

Shapes: N rollouts of a batch, R rows of a minibatch or micro-batch, T positions.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import neg

import torch
from torch import Tensor

from r1core.forward import Layout, rollout_logprobs
from r1core.grpo_loss import LossConfig, LossNormalizer, loss_normalizer
from r1core.policy import Policy
from r1core.stages.rl_config import RLConfig
from r1core.types import Rollouts


@dataclass
class RolloutBatch:
    """Rollouts that several updates learn from.

    Attributes:
        rollouts: N completions.
        advantages: float32 [N], or [N, T] per token.
        trained_N: bool [N], False where every reward function abstained, or the completion was
            truncated and `mask_truncated_completions` drops it.
        old_logprobs_NT: float32 [N, T]; None where each row is used once, by the policy that drew.
        values_NT: float32 [N, T], a critic's when they were drawn; None without a critic.
        returns_NT: float32 [N, T], what the critic learns; None without a critic.
        updates: updates made with them so far.
    """

    rollouts: Rollouts
    advantages: Tensor
    trained_N: Tensor
    old_logprobs_NT: Tensor | None = None
    values_NT: Tensor | None = None
    returns_NT: Tensor | None = None
    updates: int = 0

    def completion_advantages(self) -> Tensor:
        """Return each completion's advantage, [N]; of those per token the mean."""
        if self.advantages.ndim == 1:
            return self.advantages
        mask_NT = self.rollouts.mask_NT
        return (self.advantages * mask_NT).sum(-1) / mask_NT.sum(-1).clamp(min=1)


@dataclass
class Rows:
    """R rows of a batch, as groups of one.

    Attributes:
        rollouts: the completions.
        mask_RT: bool [R, T], tokens that count in the loss.
        advantages: float32 [R], or [R, T] per token.
        old_logprobs_RT: float32 [R, T]; None where the policy still is the one that drew them.
    """

    rollouts: Rollouts
    mask_RT: Tensor
    advantages: Tensor
    old_logprobs_RT: Tensor | None

    def sampler_policy(self, logprobs_RT: Tensor) -> Tensor:
        """Return the trainer's log-probabilities, [R, T], under the weights that sampled."""
        old_RT = self.old_logprobs_RT
        return logprobs_RT.detach().cpu() if old_RT is None else old_RT

    def choose(self, index: Tensor) -> Rows:
        """Return some of the rows."""
        rollouts = self.rollouts.rows(index)
        T = rollouts.tokens_NT.shape[1]
        old = None if self.old_logprobs_RT is None else self.old_logprobs_RT[index, :T]
        advantages = self.advantages[index]
        if advantages.ndim == 2:
            advantages = advantages[:, :T]
        return Rows(rollouts, self.mask_RT[index, :T], advantages, old)


def needs_old_logprobs(config: RLConfig) -> bool:
    """Tell whether the policy changes between drawing a rollout and its last use."""
    return config.minibatches * config.num_iterations > 1


def old_logprobs(policy: Policy, batch: RolloutBatch, config: RLConfig) -> Tensor:
    """Return the log-probabilities [N, T] of the policy as it is now, before the first update.

    Rows without a gradient, and those used in the first update only, keep the value 0.
    """
    old_NT = torch.zeros_like(batch.rollouts.logprobs_NT)
    needed_N = gradient_rows(batch.trained_N, batch.advantages, config.loss_at(1))
    if config.num_iterations == 1:
        needed_N[minibatch_index(batch, config)] = False
    forward, budget = policy.training_forward(), config.tokens_per_micro_batch
    for index_R in split_by_tokens(batch.rollouts, needed_N, budget, layout=forward.layout):
        with torch.no_grad():
            logprobs_RT, _ = rollout_logprobs(forward, batch.rollouts.rows(index_R))
        old_NT[index_R, : logprobs_RT.shape[1]] = logprobs_RT.cpu()
    return old_NT


def minibatch_index(batch: RolloutBatch, config: RLConfig) -> Tensor:
    """Return the rows of the next update: a random share of those not used in this iteration.

    The order depends on the seed, the batch's first question and the iteration alone.
    """
    N = len(batch.advantages)
    iteration, part = divmod(batch.updates, config.minibatches)
    if config.minibatches == 1:
        return torch.arange(N)
    # Of all that `random` offers, only random() is promised to stay the same between versions.
    first = batch.rollouts.prompt_uids[0] if N else 0
    generator = random.Random(f"minibatch/{config.sampling.seed}/{first}/{iteration}")
    order = torch.tensor(sorted(range(N), key=lambda _: generator.random()))
    return torch.tensor_split(order, config.minibatches)[part].sort().values


def minibatch(batch: RolloutBatch, config: RLConfig) -> Rows:
    """Return the rows of the next update."""
    on_policy = batch.updates == 0
    whole = Rows(
        batch.rollouts,
        batch.rollouts.mask_NT & batch.trained_N[:, None],
        batch.advantages,
        None if on_policy else batch.old_logprobs_NT,
    )
    return whole.choose(minibatch_index(batch, config))


def micro_batches(
    rows: Rows, loss: LossConfig, tokens_per_micro_batch: int, *, layout: Layout
) -> Iterator[tuple[Rows, LossNormalizer]]:
    """Split the rows that have a gradient under the token budget.

    Yields:
        Rows, and the normalizer of the whole minibatch, so that the split does not change the loss.
    """
    normalizer = loss_normalizer(rows.mask_RT, loss)
    chosen_R = gradient_rows(rows.mask_RT.any(-1), rows.advantages, loss)
    for index in split_by_tokens(rows.rollouts, chosen_R, tokens_per_micro_batch, layout=layout):
        yield rows.choose(index), normalizer


def gradient_rows(trained_N: Tensor, advantages: Tensor, loss: LossConfig) -> Tensor:
    """Return which rows have a gradient, bool [N]: without KL, those with an advantage."""
    if loss.beta == 0 and loss.entropy_coef == 0:
        teaches = advantages != 0
        return trained_N & (teaches if teaches.ndim == 1 else teaches.any(-1))
    return trained_N.clone()


def split_by_tokens(
    rollouts: Rollouts, chosen_N: Tensor, budget: int, *, layout: Layout
) -> Iterator[Tensor]:
    """Yield row indices so that what a forward pass runs on stays within `budget`.

    That is the tokens that it computes; of padded rows, pads too. A sequence longer than the budget
    is a micro-batch of its own.

    Args:
        rollouts: N completions.
        chosen_N: bool [N], the rows to go through.
        budget: tokens of a micro-batch.
        layout: "shared" keeps the order and counts a group's prompt once; the others go longest
            first, and "packed" fills the gaps beside longer sequences with shorter ones.
    """
    index = chosen_N.nonzero().flatten()
    if layout == "shared":
        yield from _split_shared(rollouts, index.tolist(), budget)
        return
    prompt_lengths = torch.tensor([len(tokens) for tokens in rollouts.prompt_tokens])
    lengths_N = rollouts.lengths_N + prompt_lengths.repeat_interleave(rollouts.group_size)
    index = index[lengths_N[index].argsort(descending=True, stable=True)]
    split = _split_packed if layout == "packed" else _split_padded
    for part in split(lengths_N[index].tolist(), budget):
        yield index[part]


def _split_padded(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    first = 0
    while first < len(lengths):
        rows = max(1, budget // lengths[first])
        yield list(range(first, min(first + rows, len(lengths))))
        first += rows


def _split_packed(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Fill rows as long as the longest sequence left, each sequence where `first_fit` puts it.

    Sequences without room are passed over by bisection, for they come longest first, and those that
    were taken by a link to the next, so that a batch of thousands takes milliseconds.
    """
    N = len(lengths)
    following = list(range(N + 1))  # of those taken, a later one

    def left_from(n: int) -> int:
        while following[n] != n:
            following[n] = following[following[n]]
            n = following[n]
        return n

    while (n := left_from(0)) < N:
        row_length, rows = lengths[n], max(1, budget // lengths[n])
        used: list[int] = []
        part: list[int] = []
        while n < N:
            room = row_length - min(used) if used else 0
            if lengths[n] > room and len(used) == rows:
                n = left_from(bisect_left(lengths, -room, key=neg))
                continue
            if lengths[n] > room:
                used.append(0)
            row = next(i for i, start in enumerate(used) if start + lengths[n] <= row_length)
            used[row] += lengths[n]
            part.append(n)
            following[n] = n + 1
            n = left_from(n + 1)
        yield part


def _split_shared(rollouts: Rollouts, rows: list[int], budget: int) -> Iterator[Tensor]:
    lengths = rollouts.lengths_N.tolist()
    part: list[int] = []
    prompt, used = None, 0
    for row in rows:
        own = rollouts.prompt_tokens[row // rollouts.group_size]
        shares = prompt is not None and torch.equal(own, prompt)
        added = lengths[row] + (0 if shares else len(own))
        if part and used + added > budget:
            yield torch.tensor(part)
            part, used, added = [], 0, len(own) + lengths[row]
        part.append(row)
        prompt, used = own, used + added
    if part:
        yield torch.tensor(part)

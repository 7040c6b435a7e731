"""The values that travel between the steps of the algorithm.

Shapes: P prompts, G rollouts per prompt, N = P * G (row n = p * G + g), T completion positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from r1core import _C

Message = dict[str, Any]
Prompt = str | list[Message] | list[int]
"""A question: text used verbatim, chat messages, or token ids."""

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class SamplingParams:
    """How completions are drawn; filters apply in the order temperature, top-k, top-p, min-p.

    Attributes:
        n: completions per prompt, the paper's G; >= 1.
        temperature: divides the logits; > 0.
        top_p: nucleus mass kept; in (0, 1], 1 keeps everything.
        top_k: highest logits kept; 0 keeps everything.
        min_p: smallest probability kept, relative to the largest; in [0, 1).
        max_new_tokens: completion length limit in tokens, the stop token included; >= 1.
        stop: strings that end a completion when they appear in its text.
        stop_token_ids: token ids that end a completion; None takes the model's.
        seed: key of the counter-based generator; the same seed gives the same bits.
    """

    # Read by pydantic where a recipe fills this class: an unknown key is an error.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    n: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_new_tokens: int = 256
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Reject settings that no sampler could honour.

        Raises:
            ValueError: a value is outside the range given above.
        """
        for name, rule, holds in (
            ("n", ">= 1", self.n >= 1),
            ("temperature", "finite and > 0", 0 < self.temperature < float("inf")),
            ("top_p", "in (0, 1]", 0 < self.top_p <= 1),
            ("top_k", ">= 0", self.top_k >= 0),
            ("min_p", "in [0, 1)", 0 <= self.min_p < 1),
            ("max_new_tokens", ">= 1", self.max_new_tokens >= 1),
            ("stop", "a tuple of strings", not isinstance(self.stop, str)),
        ):
            if not holds:
                value = getattr(self, name)
                raise ValueError(f"SamplingParams: {name} must be {rule}; got {value}")


def within(lengths_N: Tensor, positions: int) -> Tensor:
    """Return which positions lie within each row's length, bool [N, positions]."""
    return torch.arange(positions) < lengths_N[:, None]


@dataclass
class Rollouts:
    """Sampled completions of P prompts, G each, and what the sampler knew about them.

    Positions at or beyond a row's length hold 0 in every tensor; padding is known by length, never
    by comparing with an id.

    Attributes:
        prompts: P prompts as the caller gave them, before any template; rewards see these.
        prompt_tokens: P tensors, int64 [prompt length].
        group_size: G.
        tokens_NT: int64 [N, T]; the stop token is a row's last token and counts.
        logprobs_NT: float32 [N, T], log-probability under the tempered, unfiltered distribution.
        truncated_logprobs_NT: float32 [N, T], the same after top-k, top-p and min-p.
        entropies_NT: float32 [N, T], entropy in nats of the tempered, unfiltered distribution.
        lengths_N: int64 [N], in tokens.
        mask_NT: bool [N, T], positions sampled by the policy.
        finish_reasons: N times "stop" or "length".
        sampling: the settings that drew them.
        prompt_uids: P counters of the random generator, unique within a run.
        stop_token_ids: ids that ended a completion.
        tokenizer: decodes the completions; None where the caller works on ids alone.
        completion_prefixes: P texts that the template opened ("<think>") and rewards must see.
        trace: what the engine made of their tokens, which spares the update part of its forward
            pass; None where it was not kept.
    """

    prompts: Sequence[Prompt]
    prompt_tokens: Sequence[Tensor]
    group_size: int
    tokens_NT: Tensor
    logprobs_NT: Tensor
    truncated_logprobs_NT: Tensor
    entropies_NT: Tensor
    lengths_N: Tensor
    mask_NT: Tensor
    finish_reasons: Sequence[FinishReason]
    sampling: SamplingParams
    prompt_uids: Sequence[int]
    stop_token_ids: tuple[int, ...] = ()
    tokenizer: Any = None
    completion_prefixes: Sequence[str] = ()
    trace: _C.Trace | None = field(default=None, repr=False, compare=False)
    _texts: list[str] | None = field(default=None, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out of a pickle what spares time alone: the trace is of one process."""
        return self.__dict__ | {"trace": None, "_texts": None}

    @property
    def inside_NT(self) -> Tensor:
        """The positions that hold tokens, bool [N, T]; `mask_NT` may leave some of them out."""
        return within(self.lengths_N, self.tokens_NT.shape[1])

    @property
    def num_rows(self) -> int:
        """N, the number of completions."""
        return int(self.tokens_NT.shape[0])

    def completion_ids(self) -> list[list[int]]:
        """Return each completion's token ids, the stop token included."""
        rows = zip(self.tokens_NT.tolist(), self.lengths_N.tolist(), strict=True)
        return [tokens[:length] for tokens, length in rows]

    def texts(self) -> list[str]:
        """Decode the completions; only a final stop token is dropped, special tokens stay.

        Without a tokenizer a completion reads as its ids: "7 3 12". Decoded once: rewards, tables
        and selection ask for the same texts.
        """
        if self._texts is None:
            self._texts = self._decode()
        return list(self._texts)

    def _decode(self) -> list[str]:
        stops = set(self.stop_token_ids)
        texts = []
        for n, ids in enumerate(self.completion_ids()):
            if ids and self.finish_reasons[n] == "stop" and ids[-1] in stops:
                ids = ids[:-1]
            if self.tokenizer is None:
                texts.append(" ".join(map(str, ids)))
            else:
                texts.append(self.tokenizer.decode(ids, skip_special_tokens=False))
        return texts

    def rows(self, index_R: Tensor) -> Rollouts:
        """Return the given rows as R groups of one, for example a micro-batch.

        Columns beyond the longest of these rows are dropped.

        Args:
            index_R: [R] int64, rows of these rollouts.
        """
        index = index_R.tolist()
        owner = [n // self.group_size for n in index]
        lengths_R = self.lengths_N[index_R]
        T = int(lengths_R.max()) if len(index) else 0
        prefixes = [self.completion_prefixes[p] for p in owner] if self.completion_prefixes else ()
        tensors = {
            name: getattr(self, name)[index_R, :T]
            for name in (
                "tokens_NT",
                "logprobs_NT",
                "truncated_logprobs_NT",
                "entropies_NT",
                "mask_NT",
            )
        }
        return replace(
            self,
            prompts=[self.prompts[p] for p in owner],
            prompt_tokens=[self.prompt_tokens[p] for p in owner],
            group_size=1,
            lengths_N=lengths_R,
            finish_reasons=[self.finish_reasons[n] for n in index],
            prompt_uids=[self.prompt_uids[p] for p in owner],
            completion_prefixes=prefixes,
            **tensors,
        )


@dataclass
class RewardTable:
    """Scores of N completions by every reward function, and their weighted sum.

    Attributes:
        scores: name -> float32 [N]; NaN where the function abstained (returned None).
        weights: name -> weight in the sum.
        total_N: float32 [N], weighted sum over the functions that did not abstain; NaN if all did.
        group_size: G.
        seconds: name -> wall-clock seconds the function took.
        timeouts: name -> calls that were stopped at their deadline; isolated functions only.
        crashes: name -> calls that ended their worker; isolated functions only.
        extra: further columns that a function logged for the completions table.
        metrics: further scalars that a function logged.
    """

    scores: Mapping[str, Tensor]
    weights: Mapping[str, float]
    total_N: Tensor
    group_size: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    timeouts: Mapping[str, int] = field(default_factory=dict)
    crashes: Mapping[str, int] = field(default_factory=dict)
    extra: Mapping[str, list[Any]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_PG(self) -> Tensor:
        """[P, G] float32, the weighted sums by group."""
        return self.total_N.view(-1, self.group_size)


@dataclass
class StepStats:
    """What one step of a stage did; the caller logs it.

    Attributes:
        step: number of optimizer steps done, from 1; 0 is the state before training.
        metrics: TRL's metric names -> float.
        rollouts: the step's completions, where it has any.
        rewards: their scores.
        advantages_N: float32 [N], their advantages.
        columns: the dataset's columns, P values each.
    """

    step: int
    metrics: dict[str, float]
    rollouts: Rollouts | None = None
    rewards: RewardTable | None = None
    advantages_N: Tensor | None = None
    columns: Mapping[str, list[Any]] = field(default_factory=dict)

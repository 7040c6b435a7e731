"""The CPU engine: grouped sampling and scoring from a module's own parameters.

Shapes: P prompts, G rollouts per prompt, N = P * G, T completion positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from r1core import _C, torch_threads
from r1core.decoder_spec import decoder_spec, unsupported_reason
from r1core.native_forward import DecoderTable, completion_hidden, head_logprobs
from r1core.stop_strings import StopStrings
from r1core.types import SamplingParams

if TYPE_CHECKING:
    from transformers import PreTrainedModel


SCORED_TOGETHER = 16_384
"""Tokens whose activations exist at a time; bits do not depend on it."""

OnStep = Callable[[int, int], object]
"""Called with (completion tokens drawn so far, completions finished so far)."""


class Generated(NamedTuple):
    """What a sampler drew; columns beyond a row's length hold 0.

    Attributes:
        tokens_NT: int64 [N, T]; a stop token is a row's last token and counts.
        logprobs_NT: float32 [N, T], under the tempered, unfiltered distribution.
        truncated_logprobs_NT: float32 [N, T], after top-k, top-p and min-p.
        entropies_NT: float32 [N, T], nats, of the tempered, unfiltered distribution.
        lengths_N: int64 [N], tokens.
        stopped_N: bool [N], whether a stop token ended the row.
        trace: what the model made of the tokens, where that is kept.
    """

    tokens_NT: Tensor
    logprobs_NT: Tensor
    truncated_logprobs_NT: Tensor
    entropies_NT: Tensor
    lengths_N: Tensor
    stopped_N: Tensor
    trace: _C.Trace | None = None

    @classmethod
    def empty(cls, rows: int, columns: int) -> Generated:
        """Return N rows of zeros."""
        return cls(
            tokens_NT=torch.zeros(rows, columns, dtype=torch.int64),
            logprobs_NT=torch.zeros(rows, columns),
            truncated_logprobs_NT=torch.zeros(rows, columns),
            entropies_NT=torch.zeros(rows, columns),
            lengths_N=torch.zeros(rows, dtype=torch.int64),
            stopped_N=torch.zeros(rows, dtype=torch.bool),
        )

    def trimmed(self) -> Generated:
        """Drop the columns beyond the longest row."""
        T = int(self.lengths_N.max()) if len(self.lengths_N) else 0
        return Generated._make(
            x[:, :T].contiguous() if isinstance(x, Tensor) and x.dim() == 2 else x for x in self
        )


class Engine:
    """Samples and scores with a Hugging Face module's own parameters, on the CPU.

    Nothing is copied or kept: every call reads the parameters as they are then, so an optimizer
    step, `load_state_dict` or new tensors in their place reach the next rollout. They must not
    change while a call runs.

    The same seed gives the same bits whatever the batch, the order of prompts, the slots or the
    threads, and on AVX2 and AVX-512 alike.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Bind a model.

        Raises:
            ValueError: the engine's table does not describe this model; see `supports`.
        """
        reason = self.supports(model)
        if reason is not None:
            raise ValueError(f"Engine: model must be in the engine's table; {reason}")
        self.model = model

    @staticmethod
    def supports(model: PreTrainedModel) -> str | None:
        """Return why the engine cannot run this model as it is now, or None if it can."""
        return unsupported_reason(model)

    @property
    def vocab_size(self) -> int:
        """V, rows of the embedding."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Tensor],
        params: SamplingParams,
        stop_token_ids: Sequence[int],
        prompt_uids: Sequence[int],
        on_step: OnStep | None = None,
        *,
        seeds: Sequence[int] | None = None,
        stop_strings: StopStrings | None = None,
        slots: int | None = None,
        threads: int | None = None,
        trace_bytes: int = 0,
    ) -> Generated:
        """Draw params.n completions of each prompt.

        Args:
            prompts: P tensors, int64 [prompt length >= 1], CPU.
            params: sampling settings.
            stop_token_ids: ids that end a completion.
            prompt_uids: P counters of the random generator.
            on_step: called about every 100 ms, and at the end, with (completion tokens drawn,
                completions finished); an exception it raises ends the call.
            seeds: P keys of the random generator; None takes params.seed for all.
            stop_strings: strings that end a completion; None reads no text.
            slots: completions decoded together; None takes 32 per thread, at least 64.
            threads: None takes torch's.
            trace_bytes: a trace is kept if it takes no more.

        Returns:
            N = P * n rows; row p * n + g is sample g of prompt p.

        Raises:
            ValueError: a prompt is empty, holds an unknown id, or is too long for the context.
        """
        options = _C.GenerateOptions()
        for name in ("n", "temperature", "top_k", "top_p", "min_p", "max_new_tokens"):
            setattr(options, name, getattr(params, name))
        options.stop_token_ids = list(stop_token_ids)
        options.threads = torch_threads.available() if threads is None else threads
        options.slots = max(64, 32 * options.threads) if slots is None else slots
        options.trace_bytes = trace_bytes
        tensors = [prompt.contiguous() for prompt in prompts]
        keys = [params.seed] * len(prompts) if seeds is None else seeds
        drawn = _C.engine_generate(
            decoder_spec(self.model),
            tensors,
            list(prompt_uids),
            [key % 2**64 for key in keys],
            options,
            None if stop_strings is None else stop_strings.may_end(self.vocab_size),
            None if stop_strings is None else stop_strings.ends,
            on_step,
        )
        return Generated(*drawn).trimmed()

    @torch.no_grad()
    def logprobs(
        self,
        tokens: Sequence[Tensor],
        prompt_lengths: Sequence[int],
        temperature: float = 1.0,
        *,
        threads: int | None = None,
    ) -> list[tuple[Tensor, Tensor]]:
        """Score completions with the kernels that draw them: the same bits as `generate` gave.

        Consecutive sequences with one prompt compute it once.

        Args:
            tokens: sequences of prompt and completion, int64 [length], CPU.
            prompt_lengths: tokens of each that are its prompt, >= 1.
            temperature: divides the logits; > 0.
            threads: None takes torch's.

        Returns:
            For each sequence (log-probabilities, entropies in nats) of its completion's tokens,
            float32 [length - prompt length].

        Raises:
            ValueError: a sequence is empty, holds an unknown id, or is too long for the context.
        """
        sequences = [sequence.contiguous() for sequence in tokens]
        threads = torch_threads.available() if threads is None else threads
        table = DecoderTable.of(self.model)
        _C.check_sequences(table.spec, sequences, list(prompt_lengths), threads)
        scores: list[tuple[Tensor, Tensor]] = []
        for part in _parts([len(sequence) for sequence in sequences]):
            starts = prompt_lengths[part]
            completions = [s[n:] for s, n in zip(sequences[part], starts, strict=True)]
            hidden_MH = completion_hidden(table, sequences[part], starts, threads=threads)
            logprobs_M, entropies_M = head_logprobs(
                self.model, hidden_MH, torch.cat(completions), temperature, threads=threads
            )
            counts = [len(completion) for completion in completions]
            scores += zip(logprobs_M.split(counts), entropies_M.split(counts), strict=True)
        return scores


def _parts(lengths: Sequence[int]) -> Iterator[slice]:
    """Yield consecutive sequences that are scored together."""
    first = total = 0
    for i, length in enumerate(lengths):
        if i > first and total + length > SCORED_TOGETHER:
            yield slice(first, i)
            first, total = i, 0
        total += length
    if lengths:
        yield slice(first, len(lengths))

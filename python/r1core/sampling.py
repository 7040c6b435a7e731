"""Grouped sampling: G completions of each of P prompts from the policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from r1core.engine import Generated
from r1core.policy import Policy
from r1core.stop_strings import StopStrings
from r1core.types import FinishReason, Prompt, Rollouts, SamplingParams, within


def sample_groups(
    policy: Policy,
    prompts: Sequence[Prompt],
    params: SamplingParams,
    on_step: Callable[[int, int], object] | None = None,
    *,
    prompt_uids: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    keep_trace: bool = False,
) -> Rollouts:
    """Draw `params.n` completions of each prompt.

    Each distinct prompt is computed once and shared by its group. A completion depends on (seed,
    prompt uid, sample number) alone: not on the batch, the order of prompts, or threads.

    Args:
        policy: where to sample from.
        prompts: P prompts: text (verbatim), message lists (chat template) or token ids.
        params: sampling settings; `stop_token_ids=None` takes the policy's.
        on_step: called now and then with (completion tokens drawn, completions finished).
        prompt_uids: P counters of the random generator; None numbers the prompts from 0.
        seeds: P keys of the random generator; None takes `params.seed` for all.
        keep_trace: let the rollouts hold what the engine makes of their tokens, up to
            `policy.TRACE_BYTES`: an update of the weights that drew them is faster with it.

    Returns:
        N = P * n completions; row n = p * params.n + g. None of no prompts.

    Raises:
        ValueError: one text in place of a list, an empty prompt, or a prompt too long for the
            context.
    """
    if isinstance(prompts, str):
        raise ValueError(f"sample_groups: prompts must be a list of prompts; got {prompts!r}")
    uids = list(range(len(prompts))) if prompt_uids is None else list(prompt_uids)
    if len(uids) != len(prompts):
        raise ValueError(
            f"sample_groups: prompt_uids must have one per prompt, {len(prompts)}; got {len(uids)}"
        )
    for uid in uids:
        if not 0 <= uid < 1 << 32:
            raise ValueError(f"sample_groups: prompt_uids must be in [0, 2^32); got {uid}")
    if seeds is not None and len(seeds) != len(prompts):
        raise ValueError(
            f"sample_groups: seeds must have one per prompt, {len(prompts)}; got {len(seeds)}"
        )
    if params.stop and policy.tokenizer is None:
        raise ValueError("sample_groups: stop needs a tokenizer to read completions; got None")
    stop_strings = StopStrings(policy.tokenizer, params.stop) if params.stop else None
    tokens = policy.encode(prompts)
    check_context(policy.max_context, tokens, params.max_new_tokens)
    stops = policy.stop_token_ids() if params.stop_token_ids is None else params.stop_token_ids
    generated = policy.generate(
        tokens,
        params,
        stops,
        uids,
        on_step,
        seeds=seeds,
        stop_strings=stop_strings,
        keep_trace=keep_trace,
    )
    rollouts = Rollouts(
        prompts=list(prompts),
        prompt_tokens=tokens,
        group_size=params.n,
        tokens_NT=generated.tokens_NT,
        logprobs_NT=generated.logprobs_NT,
        truncated_logprobs_NT=generated.truncated_logprobs_NT,
        entropies_NT=generated.entropies_NT,
        lengths_N=generated.lengths_N,
        mask_NT=within(generated.lengths_N, generated.tokens_NT.shape[1]),
        finish_reasons=finish_reasons(generated),
        sampling=params,
        prompt_uids=uids,
        stop_token_ids=tuple(stops),
        tokenizer=policy.tokenizer,
        completion_prefixes=[policy.completion_prefix(prompt) for prompt in prompts],
        trace=generated.trace,
    )
    check_finite(rollouts)
    return cut_at_stop_strings(rollouts, stop_strings) if stop_strings else rollouts


def check_finite(rollouts: Rollouts) -> None:
    """Raise FloatingPointError where the policy's logits were not numbers."""
    broken = (~rollouts.logprobs_NT.isfinite()).nonzero()
    if len(broken):
        n, t = broken[0].tolist()
        raise FloatingPointError(
            f"sample_groups: the policy's logits must be finite; completion {n} has none such at "
            f"position {t}: its weights hold NaN or infinity"
        )


def check_context(max_context: int | None, prompts: Sequence[Tensor], max_new_tokens: int) -> None:
    """Raise ValueError where a prompt and its completion may not fit the model's context."""
    for p, tokens in enumerate(prompts):
        if max_context is not None and len(tokens) + max_new_tokens > max_context:
            raise ValueError(
                f"sample_groups: a prompt plus max_new_tokens must fit the model's context of "
                f"{max_context} tokens; prompt {p} has {len(tokens)}, max_new_tokens is "
                f"{max_new_tokens}"
            )


def finish_reasons(generated: Generated) -> list[FinishReason]:
    """Return "stop" or "length" for each row."""
    return ["stop" if stopped else "length" for stopped in generated.stopped_N.tolist()]


def cut_at_stop_strings(rollouts: Rollouts, stops: StopStrings) -> Rollouts:
    """End each completion with the token that completes the first of its stop strings.

    Samplers end most of them there already; a string that spelled itself out of tokens whose own
    text did not show it is found here.
    """
    lengths, reasons = rollouts.lengths_N.clone(), list(rollouts.finish_reasons)
    for n, row in enumerate(rollouts.tokens_NT):
        if (length := stops.length(row[: int(lengths[n])])) is not None:
            lengths[n], reasons[n] = length, "stop"
    T = int(lengths.max()) if len(lengths) else 0
    mask_NT = within(lengths, T)
    return replace(
        rollouts,
        tokens_NT=rollouts.tokens_NT[:, :T] * mask_NT,
        logprobs_NT=rollouts.logprobs_NT[:, :T] * mask_NT,
        truncated_logprobs_NT=rollouts.truncated_logprobs_NT[:, :T] * mask_NT,
        entropies_NT=rollouts.entropies_NT[:, :T] * mask_NT,
        lengths_N=lengths,
        mask_NT=mask_NT,
        finish_reasons=reasons,
    )

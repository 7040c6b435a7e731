"""Rules about the policy: broken numbers, collapse, length, the sampler, loops.

Each takes the records of one stage so far and looks at the newest; see `findings`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from r1core.findings import (
    CHANCE_IN_STDS,
    ENTROPY_LEAST_NATS,
    ENTROPY_LEFT,
    GAIN_IN_STDS,
    GAP_GROWTH,
    GAP_MAX_NATS,
    GAP_MEAN_NATS,
    GAP_NOISE_NATS,
    MOST_CLIPPED,
    MOST_LOOPED,
    REWARD_LEFT,
    Finding,
    History,
    first_values,
    last_values,
    mean,
)

NOT_FINITE = "not_finite"

NAN_SOURCES = (  # where it can come from, first to last along a step
    ("rewards/", "a reward function", "make it return finite numbers, or None to abstain"),
    ("reward", "the rewards", "make every reward function return finite numbers or None"),
    (
        "entropy",
        "the sampler's logits, so the weights themselves",
        "go back to the last checkpoint before this step and lower optimizer.lr",
    ),
    (
        "sampling/",
        "a log-probability of sampler or trainer",
        "train in float32, or lower optimizer.lr: logits overflow",
    ),
    ("kl", "the KL to the reference", "lower loss.beta or optimizer.lr: the policy left it far"),
    (
        "policy_loss",
        "the loss",
        "set loss.delta or a smaller loss.epsilon_high: an unclipped ratio overflows; or dtype "
        '= "float32"',
    ),
    (
        "grad_norm",
        "the gradient, with a finite loss",
        'lower optimizer.lr, or set dtype = "float32"; the error of the step names the parameters',
    ),
)
"""Start of a metric's name, what broke, and the cure."""


def not_finite(history: History) -> Iterator[Finding]:
    """NaN or infinity in the newest record: name the earliest place along the step."""
    record = history[-1]
    broken = [
        name
        for name, value in record.items()
        if isinstance(value, (int, float)) and not math.isfinite(value)
    ]
    if not broken:
        return
    listed = ", ".join(sorted(broken)[:5]) + (", ..." if len(broken) > 5 else "")
    for start, source, cure in NAN_SOURCES:
        if first := [name for name in broken if name.startswith(start)]:
            cause = f"{first[0]} is not finite: the first to break is {source} (of {listed})"
            yield Finding(record["step"], NOT_FINITE, "error", cause, cure)
            return
    cause = f"not finite: {listed}"
    yield Finding(record["step"], NOT_FINITE, "warning", cause, "look at what computes them")


def collapsed(history: History) -> Iterator[Finding]:
    """The reward was there and is gone: an update broke the policy."""
    last = last_values(history, "reward")
    rewards = [
        (r["reward"], r["step"]) for r in history if math.isfinite(r.get("reward", math.nan))
    ]
    spreads = [r["reward_std"] for r in history if math.isfinite(r.get("reward_std", math.nan))]
    if not last or not spreads:
        return
    best, step = max(rewards)
    chance = CHANCE_IN_STDS * max(spreads)
    if best - mean(last) > max(chance, (1 - REWARD_LEFT) * abs(best)):
        yield Finding(
            history[-1]["step"],
            "collapsed",
            "error",
            f"the reward fell from {best:.3g} at step {step} to {mean(last):.3g}: an update broke "
            "the policy, it no longer answers",
            f"go back to a checkpoint of about step {step}; lower optimizer.lr (a tenth), lower "
            "loss.epsilon_high, or hold the policy with loss.beta",
        )


def clipped(history: History) -> Iterator[Finding]:
    """Most completions are cut off at the limit."""
    shares = last_values(history, "completions/clipped_ratio")
    if not shares or min(shares) < MOST_CLIPPED:
        return
    seen = f"{mean(shares):.0%} of the completions are cut off at the length limit"
    looped = last_values(history, "completions/looped_ratio")
    if looped and mean(looped) >= MOST_LOOPED:
        cause, cure = f"{seen}, many in a loop", "mend the loops first; see the finding `looping`"
    elif min(shares) == 1:
        cause = f"{seen}, without exception: the policy never draws a stop token"
        cure = (
            "check eos_token_id in generation_config.json against the template's end of turn, or "
            "set sampling.stop_token_ids or sampling.stop; else raise sampling.max_new_tokens"
        )
    else:
        cause = f"{seen}, so their answers are lost"
        cure = (
            "raise sampling.max_new_tokens, or keep answers shorter: overlong_cache, or "
            "loss.mask_truncated_completions"
        )
    yield Finding(history[-1]["step"], "clipped", "warning", cause, cure)


def sampler_apart(history: History) -> Iterator[Finding]:
    """Sampler and trainer disagree about the same tokens: the ratio is wrong."""
    prefix = "sampling/sampling_logp_difference"
    means, maxima = last_values(history, f"{prefix}/mean"), last_values(history, f"{prefix}/max")
    if not means or not maxima:
        return
    start, step = first_values(history, f"{prefix}/mean"), history[-1]["step"]
    grown = start and min(means) > max(GAP_NOISE_NATS, GAP_GROWTH * mean(start))
    seen = f"sampler and trainer differ by {mean(means):.2g} nats a token (most: {max(maxima):.2g})"
    if grown:
        yield Finding(
            step,
            "sampler_apart/stale",
            "error",
            f"{seen}, {mean(start):.2g} at first: the sampler's weights are stale, updates do not "
            "reach it",
            "make sure that the model that is trained is the one that samples (merged or copied "
            "adapters, a model loaded twice); Policy shares its weights by itself",
        )
    elif min(means) > GAP_MEAN_NATS or min(maxima) > GAP_MAX_NATS:
        yield Finding(
            step,
            "sampler_apart",
            "warning",
            f"{seen}: they compute in other precisions, at other temperatures, or filter "
            "differently, so that on-policy ratios are not 1",
            'set dtype = "float32", or importance_sampling_mode = "token_truncate"; if one token '
            "is far off, look for a template or tokenizer that differs",
        )


def entropy_collapse(history: History) -> Iterator[Finding]:
    """The policy has become sure of itself without having learnt the task."""
    first, last = first_values(history, "entropy"), last_values(history, "entropy")
    if not first or not last or mean(first) < ENTROPY_LEAST_NATS:
        return
    if max(last) > ENTROPY_LEFT * mean(first):
        return
    reward, spread = first_values(history, "reward"), first_values(history, "reward_std")
    if not reward or not spread:
        return
    gain = mean(last_values(history, "reward")) - mean(reward)
    if gain >= GAIN_IN_STDS * mean(spread):
        return
    yield Finding(
        history[-1]["step"],
        "entropy_collapse",
        "warning",
        f"entropy fell from {mean(first):.3g} to {mean(last):.3g} nats a token while the reward "
        f"gained {gain:+.3g}: the answers of a group have become one, nothing new is tried",
        "lower optimizer.lr, raise loss.epsilon_high (DAPO: 0.28), set loss.beta or a small "
        "loss.entropy_coef, and keep temperature at 1",
    )


def looping(history: History) -> Iterator[Finding]:
    """Completions end in a loop."""
    shares = last_values(history, "completions/looped_ratio")
    if shares and min(shares) >= MOST_LOOPED:
        yield Finding(
            history[-1]["step"],
            "looping",
            "warning",
            f"{mean(shares):.0%} of the completions end by repeating one piece over and over: "
            "degenerate sampling, or length is paid more than answers",
            "lower optimizer.lr or go back to an earlier checkpoint; raise temperature to 1; add "
            "a repetition penalty reward; check that no reward grows with length",
        )

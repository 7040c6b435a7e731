"""The GRPO loss and its variants, from log-probabilities (DeepSeek-R1, equations 1 and 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from r1core import _C

LossType = Literal["grpo", "dr_grpo", "dapo", "bnpo"]


@dataclass(frozen=True)
class LossConfig:
    """Settings of the loss, under TRL's names and with TRL's defaults; `r1()` is the paper.

    Attributes:
        loss_type: how token losses are averaged. "grpo": over each completion, then over
            completions (the paper's 1/|o|). "dapo" and "bnpo": over all tokens. "dr_grpo": sum over
            N * max_completion_length. TRL counts "bnpo" over each micro-batch; here, as for the
            others, what is counted is the caller's choice (`normalizer` of `grpo_loss`).
        importance_sampling_level: "token", or "sequence": one ratio per completion, the exponential
            of its tokens' mean log-ratio (GSPO).
        epsilon: the ratio is clipped below 1 - epsilon; > 0.
        epsilon_high: and above 1 + epsilon_high (DAPO's clip-higher); None takes epsilon.
        delta: upper bound of the unclipped ratio (two-sided clipping); None: no bound.
        beta: coefficient of the KL divergence to the reference; 0 needs no reference.
        kl_estimator: Schulman's k1, k2 or k3 (the paper: k3).
        mask_truncated_completions: completions that hit the length limit leave the loss.
        entropy_coef: the mean entropy times this is subtracted from the loss; 0 needs no entropies.
        max_completion_length: constant divisor of "dr_grpo", in tokens; None takes T.
    """

    # Read by pydantic where a recipe fills this class: an unknown key is an error.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    loss_type: LossType = "dapo"
    importance_sampling_level: Literal["token", "sequence"] = "token"
    epsilon: float = 0.2
    epsilon_high: float | None = None
    delta: float | None = None
    beta: float = 0.0
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    mask_truncated_completions: bool = False
    entropy_coef: float = 0.0
    max_completion_length: int | None = None

    def __post_init__(self) -> None:
        """Reject settings out of range.

        Raises:
            ValueError: naming the field, its rule and its value.
        """
        high = self.epsilon if self.epsilon_high is None else self.epsilon_high
        for name, rule, holds in (
            ("loss_type", "grpo, dr_grpo, dapo or bnpo", self.loss_type in get_args(LossType)),
            (
                "importance_sampling_level",
                "token or sequence",
                self.importance_sampling_level in ("token", "sequence"),
            ),
            ("epsilon", "> 0", self.epsilon > 0),
            ("epsilon_high", ">= 0 or None", high >= 0),
            ("delta", "> 1 + epsilon_high or None", self.delta is None or self.delta > 1 + high),
            ("beta", ">= 0", self.beta >= 0),
            ("kl_estimator", "k1, k2 or k3", self.kl_estimator in ("k1", "k2", "k3")),
            ("entropy_coef", "finite", math.isfinite(self.entropy_coef)),
            ("max_completion_length", ">= 1 or None", (self.max_completion_length or 1) >= 1),
        ):
            if not holds:
                value = getattr(self, name)
                raise ValueError(f"LossConfig: {name} must be {rule}; got {value}")

    @classmethod
    def r1(cls) -> LossConfig:
        """Return the paper's: 1/|o| mean, k3 with beta 0.001, epsilon 10 (section 3.2.1)."""
        return cls(loss_type="grpo", epsilon=10.0, beta=0.001, kl_estimator="k3")


@dataclass(frozen=True)
class LossMetrics:
    """Averages over the masked tokens of one call.

    Attributes:
        policy_loss: the loss itself.
        kl: estimated KL divergence to the reference in nats; None without a reference.
        low_clipped: share of tokens whose ratio was clipped from below.
        high_clipped: share of tokens whose ratio was clipped from above.
        tokens: masked tokens.
    """

    policy_loss: float
    kl: float | None
    low_clipped: float
    high_clipped: float
    tokens: int

    def as_dict(self) -> dict[str, float]:
        """Return TRL's metric names."""
        metrics = {
            "policy_loss": self.policy_loss,
            "clip_ratio/low_mean": self.low_clipped,
            "clip_ratio/low_min": self.low_clipped,
            "clip_ratio/high_mean": self.high_clipped,
            "clip_ratio/high_max": self.high_clipped,
            "clip_ratio/region_mean": self.low_clipped + self.high_clipped,
        }
        return metrics if self.kl is None else metrics | {"kl": self.kl}


def _cpu(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.cpu()


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()


@torch.library.custom_op("r1core::grpo_loss", mutates_args=())
def _grpo_loss(
    logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    row_weights: Tensor,
    old_logprobs: Tensor | None,
    reference_logprobs: Tensor | None,
    importance_weights: Tensor | None,
    ratio_min: float,
    ratio_max: float,
    delta: float,
    beta: float,
    kl_estimator: int,
    sequence_ratio: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    loss, gradient, sums = _C.grpo_loss(
        logprobs.cpu(),
        advantages.cpu(),
        mask.cpu(),
        row_weights.cpu(),
        _cpu(old_logprobs),
        _cpu(reference_logprobs),
        _cpu(importance_weights),
        ratio_min,
        ratio_max,
        delta,
        beta,
        kl_estimator,
        sequence_ratio,
    )
    return loss.to(logprobs.device), gradient.to(logprobs.device), sums


@_grpo_loss.register_fake
def _(logprobs: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    sums = torch.empty(4, dtype=torch.float64)
    return logprobs.new_empty(()), torch.empty_like(logprobs), sums


def _setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, gradient, sums = output
    ctx.mark_non_differentiable(gradient, sums)
    ctx.save_for_backward(gradient)


def _backward(ctx: Any, grad_loss: Tensor, *_: Any) -> tuple[Any, ...]:
    (gradient,) = ctx.saved_tensors
    return (grad_loss * gradient, *(None,) * 12)


_grpo_loss.register_autograd(_backward, setup_context=_setup_context)


def loss_normalizer(mask_NT: Tensor, config: LossConfig) -> float:
    """Return what the loss divides by, counted over all rows of an optimizer step.

    Completions for "grpo", tokens for "dapo" and "bnpo", N * max_completion_length for "dr_grpo".
    Rows without a masked token do not count. At least 1, so that an empty step has loss 0.
    """
    rows = int(mask_NT.any(-1).sum())
    if config.loss_type == "grpo":
        return float(max(1, rows))
    if config.loss_type == "dr_grpo":
        return float(max(1, rows * (config.max_completion_length or mask_NT.shape[1])))
    return float(max(1, int(mask_NT.sum())))


def grpo_loss(
    logprobs: Tensor,
    advantages: Tensor,
    *,
    mask: Tensor,
    old_logprobs: Tensor | None = None,
    reference_logprobs: Tensor | None = None,
    importance_weights: Tensor | None = None,
    entropies: Tensor | None = None,
    normalizer: float | None = None,
    config: LossConfig,
) -> tuple[Tensor, LossMetrics]:
    """Return the clipped surrogate plus beta KL, to be minimised (DeepSeek-R1, equations 1 and 2).

    One pass gives the loss and its gradient with respect to `logprobs`; sums run in float64 in a
    fixed order.

    Args:
        logprobs: [N, T] float32 or float64, under the policy; differentiable.
        advantages: [N], or [N, T] per token.
        mask: [N, T] bool, tokens that count.
        old_logprobs: [N, T] under the policy that sampled; None: the same policy, ratio exactly 1.
        reference_logprobs: [N, T] under the reference; required where config.beta > 0.
        importance_weights: [N, T] factors on the policy term, for rollouts from another sampler.
        entropies: [N, T] nats, differentiable; required where config.entropy_coef is not 0.
        normalizer: `loss_normalizer` of the whole optimizer step, so that accumulation over
            micro-batches does not change the loss; None counts this call.
        config: the variant.

    Returns:
        The scalar loss, and averages for the log.

    Raises:
        ValueError: shapes that do not match, beta > 0 without a reference, or an entropy_coef
            without entropies.
    """
    if config.entropy_coef != 0 and entropies is None:
        raise ValueError("grpo_loss: entropies must be given where entropy_coef is not 0; got None")
    if normalizer is None:
        normalizer = loss_normalizer(mask, config)
    row_weights_N = torch.full((logprobs.shape[0],), 1 / normalizer, dtype=torch.float64)
    if config.loss_type == "grpo":
        row_weights_N /= mask.sum(-1).clamp(min=1).cpu()
    high = config.epsilon if config.epsilon_high is None else config.epsilon_high
    loss, _, sums = _grpo_loss(
        logprobs,
        advantages.detach(),
        mask,
        row_weights_N,
        _detached(old_logprobs),
        _detached(reference_logprobs),
        _detached(importance_weights),
        1 - config.epsilon,
        1 + high,
        math.inf if config.delta is None else config.delta,
        config.beta,
        int(config.kl_estimator[1]),
        config.importance_sampling_level == "sequence",
    )
    if config.entropy_coef != 0 and entropies is not None:
        weights_N1 = row_weights_N[:, None].to(entropies)
        loss = (
            loss
            - config.entropy_coef
            * (entropies.where(mask.to(entropies.device), 0) * weights_N1).sum()
        )
    return loss, _metrics(loss, sums, reference_logprobs is not None)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # reads the sums' values
def _metrics(loss: Tensor, sums: Tensor, has_reference: bool) -> LossMetrics:
    kl, tokens, low, high = sums.tolist()
    counted = max(1.0, tokens)
    return LossMetrics(
        policy_loss=float(loss.detach()),
        kl=kl / counted if has_reference else None,
        low_clipped=low / counted,
        high_clipped=high / counted,
        tokens=int(tokens),
    )

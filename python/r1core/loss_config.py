"""Settings of the GRPO loss and its variants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from r1core import _C

LossType = Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo"]
SURROGATES = {"cispo": 1, "sapo": 2}  # kernels::Surrogate; the others clip


@dataclass(frozen=True)
class LossConfig:
    """Settings of the loss, under TRL's names and with TRL's defaults; `r1()` is the paper.

    Attributes:
        loss_type: what becomes of the ratio, and how token losses are averaged. "grpo": clipped,
            over each completion, then over completions (the paper's 1/|o|). "dapo" and "bnpo":
            clipped, over all tokens. "dr_grpo": clipped, sum over N * max_completion_length.
            "cispo": the ratio, capped at epsilon_high, is a constant weight on A logprob; over all
            tokens (MiniMax-M1). "sapo": a soft gate instead of the clip; averaged as "grpo" (arXiv
            2511.20347). TRL counts "bnpo" over each micro-batch; here, as for the others, what is
            counted is the caller's choice (`normalizer` of `grpo_loss`).
        importance_sampling_level: "token", or "sequence": one ratio per completion, the exponential
            of its tokens' mean log-ratio (GSPO).
        epsilon: the ratio is clipped below 1 - epsilon; > 0.
        epsilon_high: and above 1 + epsilon_high (DAPO's clip-higher); None takes epsilon. For
            "cispo" the cap itself (ScaleRL: 5.0).
        delta: upper bound of the unclipped ratio (two-sided clipping); None: no bound.
        beta: coefficient of the KL divergence to the reference; 0 needs no reference.
        kl_estimator: Schulman's k1, k2 or k3 (the paper, and TRL: k3).
        use_bias_correction_kl: the KL is multiplied by the ratio, so that its gradient stays that
            of the KL where old tokens are reused (DeepSeek-V3.2).
        mask_truncated_completions: completions that hit the length limit leave the loss. For the
            training stages, which know how a completion ended; `grpo_loss` and its like do not, and
            take it from the caller: a `mask` that is False in such rows.
        entropy_coef: the mean entropy per token times this is subtracted from the loss.
        max_completion_length: constant divisor of "dr_grpo", in tokens; None takes T.
        sapo_temperature_pos: of the gate of "sapo" where the advantage is > 0; > 0.
        sapo_temperature_neg: elsewhere; > 0.
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
    use_bias_correction_kl: bool = True
    mask_truncated_completions: bool = False
    entropy_coef: float = 0.0
    max_completion_length: int | None = None
    sapo_temperature_pos: float = 1.0
    sapo_temperature_neg: float = 1.05

    def __post_init__(self) -> None:
        """Reject settings out of range.

        Raises:
            ValueError: naming the field, its rule and its value.
        """
        high = self.epsilon if self.epsilon_high is None else self.epsilon_high
        clips = self.loss_type not in SURROGATES
        for name, rule, holds in (
            (
                "loss_type",
                "grpo, dr_grpo, dapo, bnpo, cispo or sapo",
                self.loss_type in get_args(LossType),
            ),
            (
                "importance_sampling_level",
                "token or sequence",
                self.importance_sampling_level in ("token", "sequence"),
            ),
            ("epsilon", "> 0", self.epsilon > 0),
            ("epsilon_high", ">= 0 or None", high >= 0),
            ("delta", f"None for {self.loss_type}", self.delta is None or clips),
            ("delta", "> 1 + epsilon_high or None", self.delta is None or self.delta > 1 + high),
            ("beta", ">= 0", self.beta >= 0),
            ("kl_estimator", "k1, k2 or k3", self.kl_estimator in ("k1", "k2", "k3")),
            ("entropy_coef", "finite", math.isfinite(self.entropy_coef)),
            ("max_completion_length", ">= 1 or None", (self.max_completion_length or 1) >= 1),
            ("sapo_temperature_pos", "> 0", self.sapo_temperature_pos > 0),
            ("sapo_temperature_neg", "> 0", self.sapo_temperature_neg > 0),
        ):
            if not holds:
                value = getattr(self, name)
                raise ValueError(f"LossConfig: {name} must be {rule}; got {value}")

    @classmethod
    def r1(cls) -> LossConfig:
        """Return the paper's: 1/|o| mean, k3 with beta 0.001, epsilon 10 (section 3.2.1)."""
        return cls(
            loss_type="grpo",
            epsilon=10.0,
            beta=0.001,
            kl_estimator="k3",
            use_bias_correction_kl=False,
        )

    @property
    def averages_completions(self) -> bool:
        """Whether a token counts for 1/|o| of its completion."""
        return self.loss_type in ("grpo", "sapo")

    def options(self) -> Options:
        """Return what the kernels read of the settings."""
        high = self.epsilon if self.epsilon_high is None else self.epsilon_high
        bounds = {"cispo": (-math.inf, high), "sapo": (-math.inf, math.inf)}
        ratio_min, ratio_max = bounds.get(self.loss_type, (1 - self.epsilon, 1 + high))
        return (
            SURROGATES.get(self.loss_type, 0),
            ratio_min,
            ratio_max,
            math.inf if self.delta is None else self.delta,
            self.sapo_temperature_pos,
            self.sapo_temperature_neg,
            self.beta,
            int(self.kl_estimator[1]),
            self.use_bias_correction_kl,
            self.importance_sampling_level == "sequence",
        )

    def kernel_options(self) -> _C.GrpoLossOptions:
        """Return them as the kernels take them."""
        return _C.GrpoLossOptions(*self.options())


# Of kernels::GrpoLossOptions, in its order.
Options = tuple[int, float, float, float, float, float, float, int, bool, bool]

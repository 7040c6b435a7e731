"""Packed completions for the tests of the loss from logits and from hidden states."""

import math

import torch

from r1core import oracle
from r1core.grpo_loss import LossConfig, grpo_loss
from r1core.grpo_loss_from_hidden import grpo_loss_from_hidden
from r1core.grpo_loss_from_logits import grpo_loss_from_logits
from r1core.logprob import token_logprobs

LENGTHS = [3, 0, 7, 1, 0, 12, 0]  # ragged, with empty completions at the start of M and at its end
M, N, V, H = sum(LENGTHS), len(LENGTHS), 1037, 24  # V: more than a slice, not whole registers
STARTS = torch.tensor([0, *LENGTHS]).cumsum(0)
TEMPERATURE = 0.7
CONFIGS = [
    LossConfig(loss_type=loss_type, importance_sampling_level=level, beta=0.1, entropy_coef=0.02)
    for loss_type in ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo")
    for level in ("token", "sequence")
]
CONFIGS += [
    LossConfig.r1(),
    LossConfig(delta=1.5, epsilon_high=0.28, kl_estimator="k1", beta=0.05),
    LossConfig(kl_estimator="k2", beta=0.05, use_bias_correction_kl=False),
]


def name(config):
    return f"{config.loss_type}-{config.importance_sampling_level}-{config.kl_estimator}"


class Case:
    """Random packed completions; the tensors of a call by name."""

    def __init__(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
        self.hidden_MH, self.head_VH, self.bias_V = draw(M, H), draw(V, H) / 4, draw(V) / 2
        self.logits_MV = self.hidden_MH @ self.head_VH.T + self.bias_V
        self.tokens_M = torch.randint(V, (M,), generator=generator)
        self.advantages_N = draw(N)
        logprobs_M, _ = token_logprobs(self.logits_MV, self.tokens_M, temperature=TEMPERATURE)
        self.mask_M = torch.rand(M, generator=generator) > 0.3
        self.mask_M[3] = False
        self.per_token = {
            "mask": self.mask_M,
            "old_logprobs": logprobs_M + 0.3 * draw(M),
            "reference_logprobs": logprobs_M + 0.3 * draw(M),
            "importance_weights": draw(M).exp(),
        }

    def padded(self, values_M, fill=0):
        """[N, T] with the packed values at the front of each row."""
        result = torch.full((N, max(LENGTHS)), fill, dtype=values_M.dtype)
        for n, length in enumerate(LENGTHS):
            result[n, :length] = values_M[STARTS[n] : STARTS[n + 1]]
        return result

    def from_logprobs(self, logits_MV, config):
        """The first door: log-probabilities of all tokens, then the loss."""
        logprobs_M, entropies_M = token_logprobs(logits_MV, self.tokens_M, temperature=TEMPERATURE)
        inside_NT = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
        blank_NT = torch.zeros(inside_NT.shape, dtype=logprobs_M.dtype)
        return grpo_loss(
            blank_NT.masked_scatter(inside_NT, logprobs_M),
            self.advantages_N,
            entropies=blank_NT.masked_scatter(inside_NT, entropies_M),
            **{key: self.padded(value) for key, value in self.per_token.items()},
            config=config,
        )

    def from_logits(self, logits_MV, config, **changes):
        arguments = {"temperature": TEMPERATURE, "config": config} | self.per_token | changes
        return grpo_loss_from_logits(
            logits_MV, self.tokens_M, STARTS, self.advantages_N, **arguments
        )

    def from_hidden(self, hidden_MH, head_VH, config, **changes):
        arguments = {"temperature": TEMPERATURE, "config": config} | self.per_token | changes
        return grpo_loss_from_hidden(
            hidden_MH, head_VH, self.tokens_M, STARTS, self.advantages_N, **arguments
        )

    def exact(self, logits_MV, config):
        """The oracle in float64, from logits."""
        logprobs_M, entropies_M = oracle.token_logprobs(
            logits_MV, self.tokens_M, temperature=TEMPERATURE
        )
        settings = {
            "loss_type": config.loss_type,
            "importance_sampling_level": config.importance_sampling_level,
            "epsilon": config.epsilon,
            "epsilon_high": config.options()[2] - (config.loss_type not in ("cispo", "sapo")),
            "delta": config.delta or math.inf,
            "beta": config.beta,
            "kl_estimator": config.kl_estimator,
            "use_bias_correction_kl": config.use_bias_correction_kl,
            "entropy_coef": config.entropy_coef,
        }
        inside_NT = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
        blank_NT = torch.zeros(inside_NT.shape, dtype=torch.float64)
        others = {key: self.padded(value.double()) for key, value in self.per_token.items()}
        return oracle.grpo_loss(
            blank_NT.masked_scatter(inside_NT, logprobs_M),
            self.advantages_N.double()[:, None],
            others["mask"].bool(),
            others["old_logprobs"],
            others["reference_logprobs"],
            others["importance_weights"],
            blank_NT.masked_scatter(inside_NT, entropies_M),
            **settings,
        )


def leaf(tensor):
    return tensor.detach().clone().requires_grad_()


def gradients(loss, *leaves):
    return torch.autograd.grad(2 * loss, leaves)


def peak_bytes(function):
    """Most memory that torch held at once for `function`, beyond what it held before."""
    with torch.profiler.profile(profile_memory=True) as profile:
        function()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held, peak = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak

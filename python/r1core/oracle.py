"""Every op again in plain PyTorch, one formula each: what the kernels are tested against.

Meant for float64 inputs. Shapes as in the ops.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def group_advantage(
    rewards_PG: Tensor, *, scale: str = "group", eps: float = 1e-4, ddof: int = 1
) -> Tensor:
    """DeepSeek-R1, equation 3, for rewards without NaN."""
    centred_PG = rewards_PG - rewards_PG.mean(-1, keepdim=True)
    if scale == "none":
        return centred_PG
    if scale == "batch":
        return centred_PG / (rewards_PG.std(correction=ddof) + eps)
    return centred_PG / (rewards_PG.std(-1, correction=ddof, keepdim=True) + eps)


def gae(
    rewards_NT: Tensor, values_NT: Tensor, mask_NT: Tensor, *, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Schulman et al. 2016, equation 16, as the sum it is, over each row's masked tokens."""
    advantages_NT = torch.zeros_like(rewards_NT)
    for n, mask_T in enumerate(mask_NT):
        rewards_L, values_L = rewards_NT[n, mask_T], values_NT[n, mask_T]
        following_L = torch.cat([values_L[1:], values_L.new_zeros(1)])[: len(values_L)]
        deltas_L = rewards_L + gamma * following_L - values_L
        lags_L = torch.arange(len(deltas_L))
        decay_LL = (gamma * gae_lambda) ** (lags_L - lags_L[:, None]).clamp(min=0).to(deltas_L)
        advantages_NT[n, mask_T] = decay_LL.triu() @ deltas_L
    return advantages_NT, (advantages_NT + values_NT) * mask_NT


def whiten(values_NT: Tensor, mask_NT: Tensor, *, eps: float = 1e-8) -> Tensor:
    """The masked values at mean 0 and variance 1, two of them or more."""
    counted = values_NT[mask_NT]
    return (values_NT - counted.mean()) / (counted.var() + eps).sqrt() * mask_NT


def value_loss(
    values_NT: Tensor,
    returns_NT: Tensor,
    mask_NT: Tensor,
    old_values_NT: Tensor,
    *,
    clip: float = float("inf"),
) -> Tensor:
    """PPO's clipped value loss; plain squared error for an infinite clip."""
    held_NT = torch.minimum(torch.maximum(values_NT, old_values_NT - clip), old_values_NT + clip)
    errors_NT = torch.maximum((values_NT - returns_NT) ** 2, (held_NT - returns_NT) ** 2)
    return 0.5 * (errors_NT * mask_NT).sum() / mask_NT.sum().clamp(min=1)


def token_logprobs(
    logits_MV: Tensor, tokens_M: Tensor, *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Log-softmax at the token, and -sum p log p."""
    log_p_MV = (logits_MV / temperature).log_softmax(-1)
    entropies_M = -(log_p_MV.exp() * log_p_MV).nansum(-1)
    return log_p_MV.gather(-1, tokens_M[:, None]).squeeze(-1), entropies_M


def filtered_probabilities(
    logits_V: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> Tensor:
    """The distribution that a token is drawn from: temperature, top-k, top-p, min-p; [V]."""
    p_V = (logits_V / temperature).softmax(-1)
    order = logits_V.argsort(descending=True, stable=True)  # ties by lowest id
    if 0 < top_k < len(order):
        order = order[:top_k]
    if top_p < 1:
        mass = p_V[order].cumsum(0)
        order = order[: int((mass < top_p * mass[-1]).sum()) + 1]
    kept = order[p_V[order] >= min_p * p_V.max()]
    result_V = torch.zeros_like(p_V)
    result_V[kept] = p_V[kept] / p_V[kept].sum()
    return result_V


def kl(logprobs: Tensor, reference_logprobs: Tensor, estimator: str) -> Tensor:
    """Schulman's estimators of KL(policy || reference) from samples of the policy."""
    log_ratio = reference_logprobs - logprobs
    if estimator == "k1":
        return -log_ratio
    if estimator == "k2":
        return log_ratio.square() / 2
    return log_ratio.exp() - log_ratio - 1


def policy_term(
    ratio: Tensor,
    advantages_NT: Tensor,
    logprobs_NT: Tensor,
    *,
    loss_type: str = "grpo",
    epsilon: float = 0.2,
    epsilon_high: float = 0.2,
    delta: float = float("inf"),
    sapo_temperature_pos: float = 1.0,
    sapo_temperature_neg: float = 1.05,
) -> Tensor:
    """What each token is worth: PPO's clip, CISPO's capped weight, SAPO's gate."""
    if loss_type == "cispo":
        return ratio.clamp(max=epsilon_high).detach() * advantages_NT * logprobs_NT
    if loss_type == "sapo":
        t = torch.full_like(advantages_NT, sapo_temperature_neg)
        t = t.masked_fill(advantages_NT > 0, sapo_temperature_pos)
        return 4 / t * torch.sigmoid(t * (ratio - 1)) * advantages_NT
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon_high)
    return torch.minimum(ratio.clamp(max=delta) * advantages_NT, clipped * advantages_NT)


def grpo_loss(
    logprobs_NT: Tensor,
    advantages_NT: Tensor,
    mask_NT: Tensor,
    old_logprobs_NT: Tensor,
    reference_logprobs_NT: Tensor | None = None,
    importance_weights_NT: Tensor | None = None,
    entropies_NT: Tensor | None = None,
    *,
    loss_type: str = "grpo",
    importance_sampling_level: str = "token",
    beta: float = 0.0,
    kl_estimator: str = "k3",
    use_bias_correction_kl: bool = False,
    entropy_coef: float = 0.0,
    **policy: float,
) -> Tensor:
    """DeepSeek-R1, equations 1 and 2, with the policy terms and averages of the variants."""
    log_ratio = logprobs_NT - old_logprobs_NT
    if importance_sampling_level == "sequence":
        tokens_N1 = mask_NT.sum(-1, keepdim=True).clamp(min=1)
        log_ratio = (log_ratio * mask_NT).sum(-1, keepdim=True) / tokens_N1
    ratio = log_ratio.exp()
    token_loss = -policy_term(ratio, advantages_NT, logprobs_NT, loss_type=loss_type, **policy)
    if importance_weights_NT is not None:
        token_loss = token_loss * importance_weights_NT
    if reference_logprobs_NT is not None:
        divergence = kl(logprobs_NT, reference_logprobs_NT, kl_estimator)
        token_loss = token_loss + beta * divergence * (ratio if use_bias_correction_kl else 1)
    loss = average(token_loss * mask_NT, mask_NT, loss_type)
    if entropies_NT is not None:
        loss = loss - entropy_coef * (entropies_NT * mask_NT).sum() / mask_NT.sum().clamp(min=1)
    return loss


def average(token_loss_NT: Tensor, mask_NT: Tensor, loss_type: str) -> Tensor:
    """Over completions of means over tokens, over N * T, or over tokens."""
    rows = mask_NT.any(-1).sum().clamp(min=1)
    if loss_type in ("grpo", "sapo"):
        return (token_loss_NT.sum(-1) / mask_NT.sum(-1).clamp(min=1)).sum() / rows
    if loss_type == "dr_grpo":
        return token_loss_NT.sum() / (rows * mask_NT.shape[1])
    return token_loss_NT.sum() / mask_NT.sum().clamp(min=1)


# The decoder. L positions of one sequence, H channels, D of a head.


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Zhang and Sennrich 2019, equation 4."""
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def turned(x_LHD: Tensor, cos_LK: Tensor, sin_LK: Tensor) -> Tensor:
    """Su et al. 2021, equation 34, channel k turning with channel k + D / 2."""
    left, right = x_LHD.chunk(2, -1)
    cos, sin = cos_LK[:, None], sin_LK[:, None]
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)


def rotary(x_LHD: Tensor, inverse_frequencies: Tensor) -> Tensor:
    """Turn position l by l times the frequencies."""
    angles_LK = torch.outer(torch.arange(len(x_LHD)).to(x_LHD), inverse_frequencies)
    return turned(x_LHD, angles_LK.cos(), angles_LK.sin())


def attention(q_LHD: Tensor, k_LGD: Tensor, v_LGD: Tensor, window: int = 0) -> Tensor:
    """Vaswani et al. 2017, equation 1, causal; each key head serves H / G query heads."""
    L, H, D = q_LHD.shape
    shared = H // k_LGD.shape[1]
    k_LHD, v_LHD = (x.repeat_interleave(shared, 1) for x in (k_LGD, v_LGD))
    scores_HLL = torch.einsum("ihd,jhd->hij", q_LHD, k_LHD) / D**0.5
    distance_LL = torch.arange(L)[:, None] - torch.arange(L)
    seen_LL = (distance_LL >= 0) & (distance_LL < (window or L))
    p_HLL = scores_HLL.masked_fill(~seen_LL, float("-inf")).softmax(-1)
    return torch.einsum("hij,jhd->ihd", p_HLL, v_LHD)


def gated(gate: Tensor, up: Tensor, activation: str) -> Tensor:
    """Shazeer 2020: SwiGLU ("silu"), or GEGLU with the tanh form of GELU ("gelu_tanh")."""
    if activation == "silu":
        return gate * gate.sigmoid() * up
    cubic: Tensor = (2 / torch.pi) ** 0.5 * (gate + 0.044715 * gate**3)
    return 0.5 * gate * (1 + cubic.tanh()) * up


def decoder(
    tokens_L: Tensor,
    weights: Mapping[str, Tensor],
    *,
    inverse_frequencies: Tensor,
    head_dim: int,
    eps: float,
    window: int = 0,
) -> Tensor:
    """Return the final hidden states [L, H] of Llama, Qwen2, Qwen3 or Mistral by a state dict."""

    def linear(x: Tensor, name: str) -> Tensor:
        y = x @ weights[f"{name}.weight"].T
        return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y

    def heads(x: Tensor, name: str) -> Tensor:
        y_LHD = linear(x, f"{name}_proj").view(len(x), -1, head_dim)
        norm = weights.get(f"{name}_norm.weight")
        return y_LHD if norm is None else rms_norm(y_LHD, norm, eps)

    x = weights["model.embed_tokens.weight"][tokens_L]
    layers = {name.split(".")[2] for name in weights if name.startswith("model.layers.")}
    for layer in sorted(layers, key=int):
        at = f"model.layers.{layer}"
        normed = rms_norm(x, weights[f"{at}.input_layernorm.weight"], eps)
        q, k, v = (heads(normed, f"{at}.self_attn.{name}") for name in "qkv")
        q, k = rotary(q, inverse_frequencies), rotary(k, inverse_frequencies)
        x = x + linear(attention(q, k, v, window).flatten(1), f"{at}.self_attn.o_proj")
        normed = rms_norm(x, weights[f"{at}.post_attention_layernorm.weight"], eps)
        gate, up = (linear(normed, f"{at}.mlp.{name}_proj") for name in ("gate", "up"))
        x = x + linear(gated(gate, up, "silu"), f"{at}.mlp.down_proj")
    return rms_norm(x, weights["model.norm.weight"], eps)

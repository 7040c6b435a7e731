"""The decoder once more in plain float64 PyTorch, beside our forward and backward."""

from functools import partial

import pytest
import torch
from native_cases import learnt, policy_of, rollouts_of, weights_of

from r1core import oracle

FAMILIES = ["llama", "llama_biases", "llama_odd_sizes", "qwen2", "qwen3", "mistral_window"]


def doubles(*shape):
    generator = torch.Generator().manual_seed(len(shape) + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)


GRADIENTS = {
    "rms_norm": (partial(oracle.rms_norm, eps=1e-3), doubles(3, 5), doubles(5)),
    "rotary": (lambda x: oracle.rotary(x, torch.tensor([1.0, 0.1])), doubles(4, 2, 4)),
    "attention": (oracle.attention, doubles(5, 4, 3), doubles(5, 2, 3), doubles(5, 2, 3)),
    "window": (
        partial(oracle.attention, window=2),
        doubles(5, 2, 3),
        doubles(5, 1, 3),
        doubles(5, 1, 3),
    ),
    "swiglu": (partial(oracle.gated, activation="silu"), doubles(3, 4), doubles(4, 4)[:3]),
    "geglu": (partial(oracle.gated, activation="gelu_tanh"), doubles(3, 4), doubles(4, 4)[:3]),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_the_oracles_have_gradients(name):
    function, *inputs = GRADIENTS[name]
    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("name", FAMILIES)
def test_values_and_gradients_are_the_oracles(name):
    policy = policy_of(name)
    rollouts = rollouts_of(policy)
    logprobs_NT, _, gradients = learnt(policy, rollouts)
    config, factors_NT = policy.model.config, weights_of(rollouts)
    weights = {n: p.detach().double().requires_grad_() for n, p in policy.model.named_parameters()}
    loss = torch.zeros((), dtype=torch.float64)
    for n, length in enumerate(rollouts.lengths_N.tolist()):
        prompt, own = (
            rollouts.prompt_tokens[n // rollouts.group_size],
            rollouts.tokens_NT[n, :length],
        )
        hidden_LH = oracle.decoder(
            torch.cat([prompt, own]),
            weights,
            inverse_frequencies=policy.model.model.rotary_emb.inv_freq.double(),
            head_dim=policy.model.model.layers[0].self_attn.head_dim,
            eps=config.rms_norm_eps,
            window=getattr(config, "sliding_window", None) or 0,
        )
        logits_TV = hidden_LH[len(prompt) - 1 : -1] @ weights["lm_head.weight"].T
        logprobs_T, entropies_T = oracle.token_logprobs(
            logits_TV, own, temperature=rollouts.sampling.temperature
        )
        torch.testing.assert_close(
            logprobs_NT[n, :length], logprobs_T.detach().float(), rtol=0, atol=2e-5
        )
        loss = loss + logprobs_T @ factors_NT[0, n, :length].double()
        loss = loss + entropies_T @ factors_NT[1, n, :length].double()
    loss.backward()
    largest = max(w.grad.norm() for w in weights.values())
    for key, weight in weights.items():
        scale = max(weight.grad.norm(), 1e-3 * largest)
        assert (gradients[key] - weight.grad).norm() < 1e-5 * scale, key

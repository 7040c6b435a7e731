"""What the tests of our own forward share: policies, rollouts, and a loss with its gradients."""

from dataclasses import replace

import torch
from engine_cases import PARAMS, PROMPTS, STOPS, UIDS, build

from r1core import lora
from r1core.policy import Policy
from r1core.sampling import sample_groups


def policy_of(name, dtype=torch.float32, adapter=False):
    policy = Policy(build(name, dtype), None)
    policy.forward = "native"
    if adapter:
        lora.add_lora(policy, lora.LoraSettings(r=3), seed=1)
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for parameter in lora.adapter_parameters(policy).values():
                parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return policy


def rollouts_of(policy, **changes):
    params = replace(PARAMS, **{"stop_token_ids": STOPS} | changes)
    return sample_groups(policy, [p.tolist() for p in PROMPTS], params, prompt_uids=UIDS)


def weights_of(rollouts):
    """Return what the loss multiplies log-probabilities and entropies by."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn((2, *rollouts.tokens_NT.shape), generator=generator)


def learnt(policy, rollouts):
    """Return log-probabilities, entropies and the gradients of a mix of both."""
    policy.model.zero_grad()
    logprobs_NT, entropies_NT = policy.logprobs(rollouts)
    weights = weights_of(rollouts).to(logprobs_NT.dtype)
    (logprobs_NT * weights[0] + entropies_NT * weights[1]).sum().backward()
    named = policy.model.named_parameters()
    gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}
    return logprobs_NT.detach(), entropies_NT.detach(), gradients

"""Tensors whose memory no kernel of ours reads; `meta` stands for mps, xpu and other devices."""

import pytest
import torch

from r1core import _C
from r1core.grpo_loss import LossConfig

X = torch.zeros(2, 4, device="meta")
IDS, DRAWS = (torch.zeros(2, dtype=dtype, device="meta") for dtype in (torch.int64, torch.double))


@pytest.mark.parametrize(
    "name,call",
    [
        ("sample_tokens: logits", lambda: _C.sample_tokens(X, DRAWS, 1.0, 0, 1.0, 0.0, 0)),
        ("philox_uniforms: prompt_uids", lambda: _C.philox_uniforms(0, IDS, IDS, IDS, 0)),
        (
            "group_advantage: rewards",
            lambda: _C.group_advantage(X, "group", "mean", 1e-6, 0, 0),
        ),
        ("token_logprobs: tokens", lambda: _C.token_logprobs(X, IDS, 1.0, 0)),
        (
            "GrpoTokens: weights",
            lambda: _C.GrpoTokens(torch.tensor([0, 2]), DRAWS, DRAWS, None, None, None),
        ),
        ("rms_norm: x", lambda: _C.rms_norm(X, X[0], 1e-6, None, 0)),
        ("apply_rope: x", lambda: _C.apply_rope(X[:, None], X[:, :2], X[:, :2], False, 0)),
        ("swiglu: gate", lambda: _C.gated(X, X, "swiglu", 0)),
    ],
)
def test_the_ops_reject_other_devices(name, call):
    with pytest.raises(ValueError, match=f"{name} must be on the CPU or a CUDA GPU; got meta"):
        call()


def test_the_loss_rejects_log_probabilities_elsewhere():
    on_cpu = torch.ones(2, dtype=torch.double)
    tokens = _C.GrpoTokens(torch.tensor([0, 2]), on_cpu, on_cpu, None, None, None)
    with pytest.raises(ValueError, match="logprobs must be on cpu as the tokens are; got meta"):
        _C.grpo_loss(DRAWS, tokens, LossConfig().kernel_options(), 0)

"""Each GPU kernel once, on small odd shapes: what compute-sanitizer watches in tests/gpu.sh."""

import os

import torch

from r1core.advantage import group_advantage
from r1core.grpo_loss import LossConfig, grpo_loss
from r1core.grpo_loss_from_hidden import grpo_loss_from_hidden
from r1core.grpo_loss_from_logits import grpo_loss_from_logits
from r1core.layers import apply_rope, geglu, rms_norm, swiglu
from r1core.logprob import token_logprobs
from r1core.sample_tokens import philox_uniforms, sample_tokens

CLUSTERED = 50_001  # a row in 4 blocks in bfloat16, in 8 in float32; not aligned
MANY = 300  # rows, more than there are clusters on a GPU: each takes several


def main() -> None:
    """Run them; the sanitizer reports what is wrong."""
    for scale in ("group", "batch"):
        group_advantage(torch.rand(5, 33, device="cuda"), scale=scale)
    for kernel in ("pipelined", "resident"):
        os.environ["R1CORE_LOSS_KERNEL"] = kernel
        for dtype in (torch.float32, torch.bfloat16):
            for V in (7, 1037, CLUSTERED):
                losses(V, dtype)
            many_rows(CLUSTERED, dtype)
    for level in ("token", "sequence"):
        logprobs_NT = torch.randn(3, 7, device="cuda", requires_grad=True)
        mask_NT = torch.ones(3, 7, dtype=torch.bool)
        config = LossConfig(importance_sampling_level=level)
        grpo_loss(logprobs_NT, torch.randn(3), mask=mask_NT, config=config)[0].backward()
    for width in (7, 128, 1037, 9216):
        for dtype in (torch.float32, torch.bfloat16):
            layers(width, dtype)
    for V in (7, 1037, CLUSTERED):
        draws(V)
    torch.cuda.synchronize()


def layers(width: int, dtype: torch.dtype) -> None:
    """Run the parts of a decoder layer, on rows that lie in a wider matrix too."""
    wide = torch.randn(5, 3, width + 8, device="cuda").to(dtype).requires_grad_()
    angles = torch.randn(5, width // 2, device="cuda")
    weight = torch.randn(width, device="cuda").to(dtype).requires_grad_()
    for x in (wide[..., 8:], wide[..., 8:].contiguous()):
        y, h = rms_norm(x, weight, 1e-6, x)
        turned = apply_rope(x[..., : width // 2 * 2], angles.cos(), angles.sin())
        sums = [t.float().sum() for t in (y, h, turned, swiglu(x, y), geglu(x, y))]
        torch.stack([*sums, rms_norm(x, weight, 1e-6).float().sum()]).sum().backward()


def draws(V: int) -> None:
    """Draw with and without filters."""
    logits_NV = torch.randn(5, V, device="cuda")
    uniforms_N = philox_uniforms(1, *(torch.arange(5, device="cuda") for _ in range(3)))
    for rows_NV in (logits_NV, logits_NV.bfloat16()):
        for filters in ({}, {"top_k": 5}, {"top_p": 0.9, "min_p": 0.01}):
            sample_tokens(rows_NV, uniforms_N, **filters)


def many_rows(V: int, dtype: torch.dtype) -> None:
    """Run the loss from logits on so many rows that the next is copied while one is computed."""
    logits_MV = torch.randn(MANY, V, device="cuda").to(dtype).requires_grad_()
    tokens_M = torch.randint(V, (MANY,), device="cuda")
    mask_M = torch.arange(MANY, device="cuda") % 4 != 3
    starts, advantages_M = torch.arange(MANY + 1), torch.randn(MANY, device="cuda")
    loss, _ = grpo_loss_from_logits(
        logits_MV, tokens_M, starts, advantages_M, mask=mask_M, config=LossConfig()
    )
    loss.backward()


def losses(V: int, dtype: torch.dtype) -> None:
    """Run the scorer and the doors of the loss on a few rows."""
    M, H = 5, 16
    tokens_M = torch.randint(V, (M,), device="cuda")
    starts = torch.tensor([0, 2, 2, M])
    advantages_N = torch.randn(3, device="cuda")
    mask_M = torch.arange(M, device="cuda") != 3
    logits_MV = torch.randn(M, V, device="cuda").to(dtype).requires_grad_()
    logprobs_M, entropies_M = token_logprobs(logits_MV, tokens_M)
    (logprobs_M.sum() + entropies_M.sum()).backward()
    for config in (LossConfig(entropy_coef=0.1), LossConfig(importance_sampling_level="sequence")):
        leaf = logits_MV.detach().clone().requires_grad_()
        loss, _ = grpo_loss_from_logits(
            leaf, tokens_M, starts, advantages_N, mask=mask_M, config=config
        )
        loss.backward()
        factors = [torch.randn(n, H, device="cuda").to(dtype).requires_grad_() for n in (M, V)]
        loss, _ = grpo_loss_from_hidden(
            *factors, tokens_M, starts, advantages_N, mask=mask_M, config=config
        )
        loss.backward()


if __name__ == "__main__":
    main()

"""The two GPU kernels of the loss from logits, side by side: the same bits, row after row.

A script, for a kernel whose warps wait for each other may hang: whoever starts it limits its time.
"""

import os

import torch

from r1core.grpo_loss import LossConfig
from r1core.grpo_loss_from_logits import grpo_loss_from_logits

ROWS = 700  # several for each cluster of any GPU
ROUNDS = 10  # races show by chance


def main() -> None:
    """Compare them on rows that one block holds, that clusters hold, and that are not aligned."""
    for V in (7, 1037, 20_481, 50_001, 129_280, 151_936):
        for dtype in (torch.float32, torch.bfloat16):
            expected = loss_and_gradient("resident", V, dtype)
            for _ in range(ROUNDS):
                actual = loss_and_gradient("pipelined", V, dtype)
                same = [torch.equal(a, b) for a, b in zip(actual, expected, strict=True)]
                assert all(same), (V, dtype, same)
            print(f"[{ROWS}, {V}] {dtype}: the same bits", flush=True)


def loss_and_gradient(kernel: str, V: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Run one of them on rows of which one in four, and a long stretch, do not count."""
    os.environ["R1CORE_LOSS_KERNEL"] = kernel
    generator = torch.Generator("cuda").manual_seed(V)
    logits_MV = torch.randn(ROWS, V, generator=generator, device="cuda").to(dtype).requires_grad_()
    tokens_M = torch.randint(V, (ROWS,), generator=generator, device="cuda")
    advantages_M = torch.randn(ROWS, generator=generator, device="cuda")
    mask_M = torch.arange(ROWS, device="cuda") % 4 != 3
    mask_M[100:500] = False
    loss, _ = grpo_loss_from_logits(
        logits_MV,
        tokens_M,
        torch.arange(ROWS + 1),
        advantages_M,
        mask=mask_M,
        config=LossConfig(entropy_coef=0.01),
    )
    loss.backward()
    return [loss.detach(), logits_MV.grad]


if __name__ == "__main__":
    main()

"""Run under torchrun by test_native_forward: each rank scores every other row; rank 0 saves."""

import os
import sys

import torch
import torch.distributed as dist
from native_cases import policy_of, rollouts_of
from torch import nn


class Scored(nn.Module):
    def __init__(self, policy):
        super().__init__()
        self.model, self.policy = policy.model, policy

    def forward(self, rollouts):
        return self.policy.logprobs(rollouts)[0]


def main(path):
    dist.init_process_group("gloo")
    policy = policy_of("qwen3")
    mine = rollouts_of(policy).rows(torch.arange(dist.get_rank(), 14, 2))
    wrapped = nn.parallel.DistributedDataParallel(Scored(policy))
    wrapped(mine).sum().backward()
    if dist.get_rank() == 0:
        torch.save({n: p.grad for n, p in policy.model.named_parameters()}, path)
    # Not by way of torch's destructors: ~ProcessGroupGloo takes its mutex with the GIL held, while
    # its worker takes the GIL with the mutex held, to let go of the last all-reduce (torch 2.13).
    dist.barrier()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])

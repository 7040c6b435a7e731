"""Torch's own threads, kept off the cores that ours need next.

After each parallel sum of torch's its workers spin for milliseconds. Between our kernels, on
tensors that fit a cache, that costs more than they save.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

SMALL_MODEL = 2**22
"""Parameters; about what a cache holds of their gradients."""

_threads: int | None = None  # torch's, while a backward pass has it on one


def _gains(parameters: Iterable[Tensor]) -> bool:
    return torch.get_num_threads() > 1 and sum(p.numel() for p in parameters) <= SMALL_MODEL


@contextmanager
def one_thread(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Have torch work on one thread if the parameters are few and on the CPU."""
    threads, gains = torch.get_num_threads(), _gains(parameters)
    if gains:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if gains:
            torch.set_num_threads(threads)


def accumulate_on_one_thread(parameters: Iterable[Tensor]) -> None:
    """Have torch add few gradients to `.grad` on this thread, until the backward pass ends."""
    global _threads
    if _gains(parameters):
        _threads = torch.get_num_threads()
        torch.set_num_threads(1)
        torch.autograd.Variable._execution_engine.queue_callback(give_back)


def give_back() -> None:
    """Give torch the threads back that a backward pass took, even one that was interrupted."""
    global _threads
    if _threads is not None:
        torch.set_num_threads(_threads)
        _threads = None

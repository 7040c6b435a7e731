"""Torch's own threads, kept off the cores that ours need next.

After each parallel sum of torch's its workers spin for milliseconds. Between our kernels, on
tensors that fit a cache, that costs more than they save.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

SMALL_MODEL = 2**22
"""Parameters; about what a cache holds of their gradients."""


class _Taken(threading.local):
    threads: int | None = None  # torch's, of this thread of Python, while it is on one
    of_backward = False  # until a backward pass ends


_taken = _Taken()


def available() -> int:
    """Return torch's number of threads, as it is or was before it was put on one."""
    return torch.get_num_threads() if _taken.threads is None else _taken.threads


def _take(parameters: Iterable[Tensor]) -> bool:
    """Put torch on one thread if the parameters are few; tell whether it was."""
    few = torch.get_num_threads() > 1 and sum(p.numel() for p in parameters) <= SMALL_MODEL
    if few:
        _taken.threads = torch.get_num_threads()
        torch.set_num_threads(1)
    return few


def _give_back() -> None:
    if _taken.threads is not None:
        torch.set_num_threads(_taken.threads)
    _taken.threads, _taken.of_backward = None, False


@contextmanager
def one_thread(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Have torch work on one thread if the parameters are few."""
    end_backward()
    taken = _take(parameters)
    try:
        yield
    finally:
        if taken:
            _give_back()


def accumulate_on_one_thread(parameters: Iterable[Tensor]) -> None:
    """Have torch add few gradients to `.grad` on this thread, until the backward pass ends."""
    if _take(parameters):
        _taken.of_backward = True
        torch.autograd.Variable._execution_engine.queue_callback(end_backward)


def end_backward() -> None:
    """Give torch the threads back that a backward pass took, even one that was interrupted."""
    if _taken.of_backward:
        _give_back()

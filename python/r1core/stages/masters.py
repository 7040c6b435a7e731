"""float32 masters of parameters with fewer bits: what the optimizer of a bfloat16 policy steps.

bfloat16 has 8 bits of precision, so an update below 1/256 of a weight is lost: at R1's learning
rate, nearly every update. The masters keep all of it; after each step the policy's parameters are
the masters, rounded. Gradients of micro-batches are summed in float32 too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.weak import WeakTensorKeyDictionary

_newest: Any = WeakTensorKeyDictionary()
"""Parameter -> the handle of the hook that feeds its newest master."""


class Masters:
    """The parameters that an optimizer steps: a policy's own, or float32 masters of them.

    Attributes:
        named: each parameter to step, under the name of the policy's.

    Args:
        parameters: a model's `named_parameters()`; those that need no gradient are left out. A
            parameter has one master, the newest.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        self.named: list[tuple[str, nn.Parameter]] = []
        self._pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
        for name, parameter in parameters:
            if parameter.requires_grad:
                self.named.append((name, self._stepped(parameter)))

    def _stepped(self, parameter: nn.Parameter) -> nn.Parameter:
        if parameter.dtype.itemsize >= 4:
            return parameter
        master = nn.Parameter(parameter.detach().float())
        if parameter in _newest:
            _newest.pop(parameter).remove()
        hand_over = partial(_hand_over, ref(master))
        _newest[parameter] = parameter.register_post_accumulate_grad_hook(hand_over)  # type: ignore[no-untyped-call]
        self._pairs.append((parameter, master))
        return master

    def follow(self, optimizer: Optimizer) -> None:
        """Round the masters into the policy after each step of their optimizer."""
        if self._pairs:
            optimizer.register_step_post_hook(lambda *_: self.round())

    @torch.no_grad()
    def round(self) -> None:
        """Set the policy's parameters to the masters, rounded to nearest."""
        for parameter, master in self._pairs:
            parameter.copy_(master)

    def state_dict(self) -> dict[str, Any]:
        """Return the masters: the policy's own weights have lost bits of them."""
        return {"masters": [master.detach() for _, master in self._pairs]}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Sequence[Tensor]]) -> None:
        """Set the masters, and with them the policy."""
        for (_, master), value in zip(self._pairs, state["masters"], strict=True):
            master.copy_(value)
        self.round()


def _hand_over(master: ref[nn.Parameter], parameter: nn.Parameter) -> None:
    """Add a gradient to the master's, in float32, and free it."""
    owner, gradient = master(), parameter.grad
    if owner is None or gradient is None:
        return
    wide = gradient.float()
    owner.grad = wide if owner.grad is None else owner.grad.add_(wide)
    parameter.grad = None

"""Names what is not finite when a gradient is not: the first question of whoever reads the error.

NaN travels: one bad value in a late layer reaches every earlier one in the backward pass. So the
names are listed from the model's end, where the cause is nearer.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.optim import Optimizer

SHOWN = 4
"""Names in the message; the count tells the rest."""


def nonfinite_report(optimizer: Optimizer) -> str:
    """Say which gradients are not finite, and whether parameters are not either.

    Args:
        optimizer: with the gradients still in place. Names are those of `named_parameters` if it
            was built from them, else positions and shapes.
    """
    named = [pair for group in optimizer.param_groups for pair in named_parameters(group)]
    gradients = [name for name, p in named if p.grad is not None and not is_finite(p.grad)]
    parameters = [name for name, p in named if not is_finite(p)]
    report = f"{len(gradients)} of {len(named)} parameters have a gradient that is not finite"
    if gradients:
        report += f", from the end: {listed(gradients[::-1])}"
    if parameters:
        report += (
            f". {len(parameters)} parameters are themselves not finite ({listed(parameters)}): "
            "an earlier update broke them, go back to a checkpoint before it"
        )
    elif not gradients:
        report += ": each is finite, their norm overflows"
    return report


def named_parameters(group: dict[str, object]) -> list[tuple[str, Tensor]]:
    """Return the names and parameters of an optimizer's group."""
    parameters = group["params"]
    assert isinstance(parameters, list)
    names = group.get("param_names")
    if not isinstance(names, list):
        names = [f"parameter {i} {list(p.shape)}" for i, p in enumerate(parameters)]
    return list(zip(names, parameters, strict=True))


def is_finite(tensor: Tensor) -> bool:
    """Tell whether every value is finite."""
    return bool(tensor.detach().isfinite().all())


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more

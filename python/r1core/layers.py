"""What a decoder layer does between its matrix products; differentiable.

On a GPU each is one kernel, forward and backward; on the CPU plain PyTorch. Arithmetic is in
float32, rounded once for bfloat16; float64 stays float64, on the CPU alone.
"""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

from r1core import _C
from r1core.cuda import stream_of

# RMSNorm: one op without the addition before it, one with it ------------------------------------


@torch.library.custom_op("r1core::rms_norm", mutates_args=())
def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return _C.rms_norm(x, weight, eps, None, stream_of(x))[0]


@torch.library.custom_op("r1core::add_rms_norm", mutates_args=())
def _add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return _C.rms_norm(x, weight, eps, residual, stream_of(x))


@torch.library.custom_op("r1core::rms_norm_backward", mutates_args=())
def _rms_norm_backward(
    h: Tensor, dy: Tensor, weight: Tensor, eps: float, dh: Tensor | None, wants_weight: bool
) -> tuple[Tensor, Tensor]:
    return _C.rms_norm_backward(h, dy, weight, eps, dh, wants_weight, stream_of(h))


@_rms_norm.register_fake
def _(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape)


@_add_rms_norm.register_fake
def _(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(x.shape)


@_rms_norm_backward.register_fake
def _(
    h: Tensor, dy: Tensor, weight: Tensor, eps: float, dh: Tensor | None, wants_weight: bool
) -> tuple[Tensor, Tensor]:
    return h.new_empty(h.shape), weight.new_empty(weight.shape if wants_weight else 0)


def _norm_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
    x, weight, ctx.eps = inputs
    ctx.save_for_backward(x, weight)


def _norm_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor | None, None]:
    h, weight = ctx.saved_tensors
    wants_weight = ctx.needs_input_grad[1]
    dx, dweight = _rms_norm_backward(h, dy, weight, ctx.eps, None, wants_weight)
    return dx, dweight if wants_weight else None, None


def _add_norm_context(
    ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float], output: tuple[Tensor, Tensor]
) -> None:
    _, _, weight, ctx.eps = inputs
    ctx.set_materialize_grads(False)  # no zeros for an output that nothing depends on
    ctx.save_for_backward(output[1], weight)


def _add_norm_gradient(
    ctx: Any, dy: Tensor | None, dh: Tensor | None
) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
    if dy is None:
        return dh, dh, None, None
    h, weight = ctx.saved_tensors
    wants_weight = ctx.needs_input_grad[2]
    dx, dweight = _rms_norm_backward(h, dy, weight, ctx.eps, dh, wants_weight)
    return dx, dx, dweight if wants_weight else None, None


_rms_norm.register_autograd(_norm_gradient, setup_context=_norm_context)
_add_rms_norm.register_autograd(_add_norm_gradient, setup_context=_add_norm_context)


@overload
def rms_norm(x: Tensor, weight: Tensor, eps: float, residual: None = None) -> Tensor: ...
@overload
def rms_norm(x: Tensor, weight: Tensor, eps: float, residual: Tensor) -> tuple[Tensor, Tensor]: ...
def rms_norm(
    x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """Divide rows by their root mean square: weight * h / sqrt(mean(h^2) + eps).

    Args:
        x: [..., width] float32 or bfloat16 (float64 on the CPU), of any strides.
        weight: [width] in x's dtype or float32. Gemma's is 1 + its weight, best in float32.
        eps: > 0.
        residual: like x, added before: h = x + residual. Without it h = x.

    Returns:
        Like x, contiguous; with a residual a pair of that and h, the stream that goes on.

    Raises:
        ValueError: another shape, dtype or device, or eps <= 0.

    Note:
        h is rounded to its dtype, then normalised; the weight multiplies before the one rounding
        of the result, where Hugging Face's modules round twice in bfloat16. The weight's gradient
        is summed in one order: two runs give the same bits.
    """
    if residual is None:
        y: Tensor = _rms_norm(x, weight, eps)
        return y
    pair: tuple[Tensor, Tensor] = _add_rms_norm(x, residual, weight, eps)
    return pair


# Rotary position embedding: its gradient is the rotation back ------------------------------------


@torch.library.custom_op("r1core::apply_rope", mutates_args=())
def _apply_rope(x: Tensor, cos: Tensor, sin: Tensor, back: bool) -> Tensor:
    return _C.apply_rope(x, cos, sin, back, stream_of(x))


@_apply_rope.register_fake
def _(x: Tensor, cos: Tensor, sin: Tensor, back: bool) -> Tensor:
    return x.new_empty(x.shape)


def _rope_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, bool], output: Tensor) -> None:
    _, cos, sin, ctx.back = inputs
    ctx.save_for_backward(cos, sin)


def _rope_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None]:
    cos, sin = ctx.saved_tensors
    return _apply_rope(dy, cos, sin, not ctx.back), None, None, None


_apply_rope.register_autograd(_rope_gradient, setup_context=_rope_context)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each head by its token's position, channel k with channel k + head_dim / 2.

    Args:
        x: [tokens, heads, head_dim] float32 or bfloat16 (float64 on the CPU), of any strides;
            queries and keys that lie beside each other are so many heads.
        cos: [tokens, head_dim / 2] float32, of each token's angles; no gradient.
        sin: the same.

    Returns:
        Like x, contiguous.

    Raises:
        ValueError: another shape, dtype or device, or an odd head_dim.
    """
    y: Tensor = _apply_rope(x, cos, sin, False)
    return y


# The gate of a feed-forward layer ----------------------------------------------------------------


@torch.library.custom_op("r1core::gated", mutates_args=())
def _gated(gate: Tensor, up: Tensor, op: str) -> Tensor:
    return _C.gated(gate, up, op, stream_of(gate))


@torch.library.custom_op("r1core::gated_backward", mutates_args=())
def _gated_backward(gate: Tensor, up: Tensor, dy: Tensor, op: str) -> tuple[Tensor, Tensor]:
    return _C.gated_backward(gate, up, dy, op, stream_of(gate))


@_gated.register_fake
def _(gate: Tensor, up: Tensor, op: str) -> Tensor:
    return gate.new_empty(gate.shape)


@_gated_backward.register_fake
def _(gate: Tensor, up: Tensor, dy: Tensor, op: str) -> tuple[Tensor, Tensor]:
    return gate.new_empty(gate.shape), gate.new_empty(gate.shape)


def _gated_context(ctx: Any, inputs: tuple[Tensor, Tensor, str], output: Tensor) -> None:
    gate, up, ctx.op = inputs
    ctx.save_for_backward(gate, up)


def _gated_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
    dgate, dup = _gated_backward(*ctx.saved_tensors, dy, ctx.op)
    return dgate, dup, None


_gated.register_autograd(_gated_gradient, setup_context=_gated_context)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """Gate a feed-forward layer by SiLU: gate / (1 + e^-gate) * up (Shazeer 2020).

    Args:
        gate: [..., width] float32 or bfloat16 (float64 on the CPU), of any strides: also the halves
            of one [..., 2 width] product.
        up: like the gate.

    Returns:
        Like the gate, contiguous.

    Raises:
        ValueError: another shape, dtype or device.
    """
    y: Tensor = _gated(gate, up, "swiglu")
    return y


def geglu(gate: Tensor, up: Tensor) -> Tensor:
    """Gate a feed-forward layer by the tanh form of GELU, as in Gemma; otherwise as `swiglu`."""
    y: Tensor = _gated(gate, up, "geglu")
    return y

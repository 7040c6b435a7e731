"""The head of a Hugging Face model: what it is given, and whether the logits are its alone.

A loss that takes hidden states and the head's matrix computes logits = hidden W^T + b by itself.
Models are free to do more: cap or scale the logits, adapt the head, or have none. No list of
architectures tells; the model's own forward does, with the head replaced by the identity.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from r1core.decoder_spec import DTYPES

_ends_in_its_head: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def head_reason(model: PreTrainedModel) -> str | None:
    """Return why a token's logits are not hidden W^T + b as the model is now; None if they are."""
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear:  # nor peft's, nor a quantised one
        return f"the head is a {type(head).__name__}, not a Linear of torch"
    if type(head.weight.data) is not Tensor or head.weight.dtype not in DTYPES:
        return f"the head's weight is a {type(head.weight.data).__name__} of {head.weight.dtype}"
    for name, module in (("the head", head), ("the model", model)):
        if "forward" in vars(module):
            return f"{name} has a replaced forward"
        if _has_hook(module):
            return f"{name} has a hook"
    if model not in _ends_in_its_head:
        one = torch.zeros(1, 1, dtype=torch.int64, device=model.device)
        with torch.no_grad():
            _ends_in_its_head[model] = _run(model, input_ids=one, attention_mask=one + 1)[1]
    return None if _ends_in_its_head[model] else "the model does more to logits than its head does"


def head_input(model: PreTrainedModel, **inputs: Any) -> Tensor:
    """Run a model and return what it gives its head, [..., H]; differentiable.

    Args:
        model: one whose `head_reason` is None.
        inputs: of its forward, without a cache.

    Raises:
        RuntimeError: it no longer is such a model.
    """
    hidden, ends_in_head = _run(model, **inputs)
    if not ends_in_head:
        raise RuntimeError(
            f"head_input: {type(model).__name__} must return what its head does; it was changed "
            "after its first use"
        )
    return hidden


def _run(model: PreTrainedModel, **inputs: Any) -> tuple[Tensor, bool]:
    """Return what the head is given, and whether the model returns just what its head does.

    The head returns its very argument meanwhile, so whatever is done to logits makes another
    tensor. The model is not for use from another thread.
    """
    head, given = model.get_output_embeddings(), []

    def keep(hidden: Tensor) -> Tensor:
        given.append(hidden)
        return hidden

    head.forward = keep
    try:
        logits: Tensor = model(**inputs, use_cache=False).logits
    finally:
        del head.forward
    return logits, len(given) == 1 and logits is given[0]


def _has_hook(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )

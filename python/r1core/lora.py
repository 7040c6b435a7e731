"""LoRA: train a low-rank adapter on a frozen base (peft), which is also the reference policy.

The engine reads the adapter's own tensors as y = W x + b + s B(A x): nothing is merged or copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save_file
from torch import Tensor, nn

if TYPE_CHECKING:
    from r1core.policy import Policy
    from r1core.types import Rollouts


_PREFIX = "base_model.model."  # of every name in a PEFT file


class LoraSettings(BaseModel):
    """Which projections get an adapter, and its size.

    Attributes:
        r: rank of the pair.
        lora_alpha: the pair's product is multiplied by lora_alpha / r.
        target_modules: names of projections, or all but the head.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    r: int = Field(default=16, ge=1)
    lora_alpha: float = Field(default=32, gt=0)
    target_modules: Literal["all-linear"] | list[str] = "all-linear"


def add_lora(policy: Policy, settings: LoraSettings, seed: int | None = None) -> Policy:
    """Add a trainable adapter to a policy, in place, and freeze everything else.

    Args:
        policy: one without an adapter. Its outputs do not change: B starts at 0.
        settings: the adapter.
        seed: of A's initialisation; None draws from torch's global generator.

    Returns:
        The same policy.

    Raises:
        ImportError: peft is not installed.
        ValueError: the policy has an adapter already, or no module of that name.
    """
    peft = _peft()
    if has_lora(policy):
        raise ValueError("add_lora: policy must have no adapter yet; got one that has")
    targets = settings.target_modules
    config = peft.LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    with nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        _inject(policy, config)
    return policy


def has_lora(policy: Policy) -> bool:
    """Return whether the policy carries an adapter."""
    return any(_is_tuner_layer(module) for module in policy.model.modules())


def train_adapter_only(policy: Policy) -> None:
    """Have the adapter's tensors require a gradient, and no others."""
    policy.model.requires_grad_(False)
    for parameter in adapter_parameters(policy).values():
        parameter.requires_grad_(True)


def made_trainable(policy: Policy) -> Policy:
    """Have the policy train: its adapter alone where it has one, else every weight."""
    policy.model.requires_grad_(True)
    if has_lora(policy):
        train_adapter_only(policy)
    return policy


def adapter_parameters(policy: Policy) -> dict[str, nn.Parameter]:
    """Return the adapter's own tensors, live, by the module's names."""
    named = policy.model.named_parameters()
    return {name: p for name, p in named if ".lora_A." in name or ".lora_B." in name}


@contextmanager
def adapter_off(policy: Policy) -> Iterator[None]:
    """Have the policy be its base alone, in sampling, scoring and its own forward."""
    layers = [module for module in policy.model.modules() if _is_tuner_layer(module)]
    # the flag alone: peft's own switch also turns requires_grad off
    before = [layer._disable_adapters for layer in layers]
    try:
        for layer in layers:
            layer._disable_adapters = True
        yield
    finally:
        for layer, disabled in zip(layers, before, strict=True):
            layer._disable_adapters = disabled


class AdapterReference:
    """pi_ref of a LoRA policy: the same base with the adapter off, or an earlier adapter.

    Has the interface of `Policy.frozen_copy()` as far as a stage uses it, without a copy of the
    base. Not for use from another thread while the policy runs: it switches the policy's adapter.
    """

    def __init__(self, policy: Policy) -> None:
        """Score with the policy's adapter off."""
        self._policy = policy
        self._adapter: dict[str, Tensor] = {}  # empty: off

    @classmethod
    def copy_of(cls, policy: Policy) -> AdapterReference:
        """Return a reference that is the policy as it is now; a fresh adapter needs no copy."""
        reference = cls(policy)
        tensors = adapter_parameters(policy)
        if any(bool(p.any()) for name, p in tensors.items() if ".lora_B." in name):
            reference.load_from(policy)
        return reference

    @torch.no_grad()
    def logprobs(self, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """Score rollouts as `Policy.logprobs` does, without a gradient."""
        with self.active():
            return self._policy.logprobs(rollouts)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have the policy be the reference."""
        if not self._adapter:
            with adapter_off(self._policy):
                yield
            return
        live = adapter_parameters(self._policy)
        own = {name: parameter.data for name, parameter in live.items()}
        try:
            for name, parameter in live.items():
                parameter.data = self._adapter[name]  # pointers change hands, nothing is copied
            yield
        finally:
            for name, parameter in live.items():
                parameter.data = own[name]

    def load_from(self, other: Policy) -> None:
        """Become another policy on the same base: keep a copy of its adapter's tensors."""
        self.load_state_dict(adapter_parameters(other))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the copied adapter; nothing while it is off."""
        return dict(self._adapter)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: the tensors are not those of the policy's adapter.
        """
        live = adapter_parameters(self._policy)
        if state and {n: p.shape for n, p in live.items()} != {
            n: t.shape for n, t in state.items()
        }:
            raise ValueError(
                "AdapterReference: state must hold the tensors of the policy's adapter; got "
                f"{len(state)} tensors for {len(live)}, or other names or shapes"
            )
        self._adapter = {  # a state comes from a file to the CPU
            name: tensor.detach().to(live[name].device, copy=True) for name, tensor in state.items()
        }


def save_adapter(policy: Policy, path: str | Path) -> None:
    """Write a PEFT directory: adapter_config.json with the base's name, and the adapter."""
    if not has_lora(policy):
        raise ValueError("save_adapter: policy must have an adapter; got one without")
    tensors = _peft().get_peft_model_state_dict(policy.model)
    Path(path).mkdir(parents=True, exist_ok=True)
    policy.model.peft_config["default"].save_pretrained(path)
    save_file(
        {_PREFIX + name: tensor.contiguous() for name, tensor in tensors.items()},
        Path(path) / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )


def load_adapter(policy: Policy, path: str | Path) -> Policy:
    """Add a saved adapter to a policy on its base, in place, and train it alone.

    Raises:
        ImportError: peft is not installed.
        ValueError: the policy has an adapter already, there is none at `path`, or it is of
            another model.
    """
    peft = _peft()
    if has_lora(policy):
        raise ValueError("load_adapter: policy must have no adapter yet; got one that has")
    if not (Path(path) / "adapter_config.json").exists():
        raise ValueError(f"load_adapter: {path} must hold an adapter_config.json; it does not")
    _inject(policy, peft.PeftConfig.from_pretrained(path))
    tensors = peft.load_peft_weights(str(path), device="cpu")
    tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    try:
        unknown = peft.set_peft_model_state_dict(policy.model, tensors).unexpected_keys
    except RuntimeError as error:  # torch's, of shapes
        raise ValueError(
            f"load_adapter: {path} must be an adapter of this model; {error}"
        ) from None
    if unknown:
        raise ValueError(
            f"load_adapter: {path} must be an adapter of this model; it has no {unknown[0]}"
        )
    return policy


def merge_lora(policy: Policy) -> Policy:
    """Return an ordinary policy with its own weights, W + s B A; the given one stays as it is."""
    from r1core.policy import Policy

    model = deepcopy(policy.model)
    for name, module in list(model.named_modules()):
        if _is_tuner_layer(module):
            module.merge(safe_merge=True)  # in the weight's dtype; raises on values not finite
            model.set_submodule(name, module.get_base_layer())
    model._hf_peft_config_loaded = False
    if hasattr(model, "peft_config"):
        del model.peft_config
    return Policy(model.requires_grad_(True), policy.tokenizer)


def _inject(policy: Policy, config: Any) -> None:
    """Add a fresh adapter by peft's own door: transformers' asks for versions of peft to come."""
    config.base_model_name_or_path = policy.model.name_or_path
    config.inference_mode = False
    _peft().inject_adapter_in_model(config, policy.model)
    policy.model._hf_peft_config_loaded = True  # the model's own save_pretrained writes adapters
    train_adapter_only(policy)
    policy.model.eval()


def _is_tuner_layer(module: Any) -> bool:
    return type(module).__module__.startswith("peft.") and hasattr(module, "_disable_adapters")


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ImportError("LoRA needs peft: pip install r1core[lora]") from error
    return peft

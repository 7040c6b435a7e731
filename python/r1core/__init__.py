"""r1core: the whole DeepSeek-R1 recipe in one pip install.

    import r1core as r1

    policy = r1.Policy.from_pretrained("path/or/hub-name")
    rollouts = r1.sample_groups(policy, ["1 + 1 ="], r1.SamplingParams(n=4, max_new_tokens=16))

One step of the algorithm is one module, in the order of the data: `sampling`, `rewards`,
`advantage`, `logprob`, `grpo_loss`. `stages` puts them together; `pipeline` runs a recipe.
"""

import importlib
from typing import TYPE_CHECKING, Any

from r1core.advantage import group_advantage
from r1core.eval_sets import load_eval_set
from r1core.gae import gae, whiten
from r1core.grpo_loss import LossConfig, LossMetrics, LossNormalizer, grpo_loss, loss_normalizer
from r1core.grpo_loss_from_hidden import grpo_loss_from_hidden
from r1core.grpo_loss_from_logits import grpo_loss_from_logits
from r1core.importance import importance_weights
from r1core.kl import kl_penalty
from r1core.logprob import token_logprobs
from r1core.lora import LoraSettings, add_lora, load_adapter, merge_lora
from r1core.rewards import RewardSpec, score_rollouts
from r1core.sample_tokens import philox_uniforms, sample_tokens
from r1core.types import RewardTable, Rollouts, SamplingParams, StepStats
from r1core.worlds import load_world

if TYPE_CHECKING:
    from r1core import stages
    from r1core.policy import Policy
    from r1core.sampling import sample_groups
    from r1core.worlds.base import base_policy

__version__ = "0.1.0"

__all__ = [
    "LoraSettings",
    "LossConfig",
    "LossMetrics",
    "LossNormalizer",
    "Policy",
    "RewardSpec",
    "RewardTable",
    "Rollouts",
    "SamplingParams",
    "StepStats",
    "add_lora",
    "base_policy",
    "gae",
    "group_advantage",
    "grpo_loss",
    "grpo_loss_from_hidden",
    "grpo_loss_from_logits",
    "importance_weights",
    "kl_penalty",
    "load_adapter",
    "load_eval_set",
    "load_world",
    "loss_normalizer",
    "merge_lora",
    "philox_uniforms",
    "sample_groups",
    "sample_tokens",
    "score_rollouts",
    "stages",
    "token_logprobs",
    "whiten",
]

# What needs transformers' models is imported when it is first asked for: they take three seconds,
# which `r1core --help`, `r1core verify` and a script that wants the ops alone would wait for.
_LATER = {
    "Policy": "r1core.policy",
    "base_policy": "r1core.worlds.base",
    "sample_groups": "r1core.sampling",
    "stages": "r1core.stages",
}


def __getattr__(name: str) -> Any:
    """Import what `_LATER` names."""
    if name not in _LATER:
        raise AttributeError(f"module 'r1core' has no attribute {name!r}")
    module = importlib.import_module(_LATER[name])
    value = module if name == "stages" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List what is there, imported or not."""
    return sorted({*globals(), *_LATER})

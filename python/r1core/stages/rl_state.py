"""Where a `reasoning_rl` stage stands: what a checkpoint holds besides the policy (DESIGN 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from r1core.policy import Policy
from r1core.stages.minibatches import RolloutBatch
from r1core.stages.rl_config import RLConfig
from r1core.stages.training_state import TrainingState
from r1core.types import Rollouts, SamplingParams

ROLLOUT_FIELDS = (
    "prompt_tokens",
    "group_size",
    "tokens_NT",
    "logprobs_NT",
    "truncated_logprobs_NT",
    "entropies_NT",
    "lengths_N",
    "mask_NT",
    "finish_reasons",
    "prompt_uids",
    "stop_token_ids",
)
"""What the updates read of rollouts; prompts and texts were graded when they were drawn."""

BATCH_FIELDS = (
    "advantages",
    "trained_N",
    "old_logprobs_NT",
    "values_NT",
    "returns_NT",
    "updates",
)


class RLState(TrainingState):
    """The state of a `reasoning_rl` stage between two updates; a variant adds to it.

    Attributes:
        stage: the kind of stage, which errors speak of.
        batch: rollouts that further updates will use; None where new ones are due.
        reference: pi_ref; None where beta is 0.
    """

    stage = "reasoning_rl"

    def __init__(self, policy: Policy, config: RLConfig) -> None:
        """Begin a stage: `policy` is where it starts, and the reference."""
        super().__init__(policy.model.named_parameters(), config.optimizer, config.steps)
        self.batch: RolloutBatch | None = None
        self.reference = policy.frozen_copy() if config.loss.beta > 0 else None

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values that `torch.load(weights_only=True)` reads back."""
        return super().state_dict() | {
            "batch": None if self.batch is None else batch_state(self.batch),
            "reference": None if self.reference is None else self.reference.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken, with the same settings."""
        super().load_state_dict(state)
        self.batch = None if state["batch"] is None else load_batch(state["batch"])
        if self.reference is not None:
            self.reference.load_state_dict(state["reference"])


def batch_state(batch: RolloutBatch) -> dict[str, Any]:
    """Return a batch that is in use as tensors and plain values."""
    rollouts = {name: getattr(batch.rollouts, name) for name in ROLLOUT_FIELDS}
    rollouts = {n: list(v) if isinstance(v, (list, tuple)) else v for n, v in rollouts.items()}
    return {
        "rollouts": rollouts | {"sampling": asdict(batch.rollouts.sampling)},
        **{name: getattr(batch, name) for name in BATCH_FIELDS},
    }


def load_batch(state: Mapping[str, Any]) -> RolloutBatch:
    """Return the batch of `batch_state`; its rollouts hold no prompts and no texts."""
    fields = dict(state["rollouts"])
    fields["stop_token_ids"] = tuple(fields["stop_token_ids"])
    fields["sampling"] = SamplingParams(**fields["sampling"])
    rollouts = Rollouts(prompts=[None] * len(fields["prompt_tokens"]), **fields)  # type: ignore[list-item]
    return RolloutBatch(rollouts, **{name: state[name] for name in BATCH_FIELDS})


def seed_generators(seed: int) -> None:
    """Seed the global random generators, which user rewards and dropout draw from."""
    import random

    import numpy

    torch.manual_seed(seed)
    numpy.random.seed(seed % 2**32)
    random.seed(seed)


def random_state() -> dict[str, Any]:
    """Return the states of the global random generators, which user rewards may draw from."""
    import random

    import numpy

    kind, keys, position, has_gauss, gauss = numpy.random.get_state(legacy=True)
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(kind), [int(key) for key in keys], int(position), int(has_gauss), gauss],
        "python": [version, list(internal), gauss_next],
    }


def load_random_state(state: Mapping[str, Any]) -> None:
    """Set the global random generators to what `random_state` returned."""
    import random

    import numpy

    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    numpy.random.set_state((kind, numpy.array(keys, dtype="uint32"), position, has_gauss, gauss))
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))

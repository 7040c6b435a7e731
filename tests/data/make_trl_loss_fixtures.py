"""Run TRL's own loss on fixed inputs and write `trl_loss.json`, which test_trl_loss.py reads.

    BENCH_VENV/bin/python tests/data/make_trl_loss_fixtures.py

Needs TRL (any version: it is written into the file). The trainer's model is left out: the inputs
are the per-token log-probabilities and entropies that `_compute_loss` would have got from it.
"""

import inspect
import itertools
import json
import math
import textwrap
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import torch
import trl
from trl.trainer.grpo_trainer import GRPOTrainer

N, T = 3, 5
MAX_COMPLETION_LENGTH = 16
LOSS_TYPES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo")
LEVELS = ("token", "sequence")
MODES = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
# Each case changes some settings of TRL's defaults; all are run for each loss type and level.
VARIANTS = (
    {},
    {"epsilon": 0.1, "epsilon_high": 0.3},
    {"delta": 1.5},
    {"beta": 0.1},
    {"beta": 0.1, "use_bias_correction_kl": False},
    {"entropy_coef": 0.02},
    {"mode": "sequence_mask", "beta": 0.1, "entropy_coef": 0.02},
    {"mode": "token_truncate"},
    {"advantages": "advantages_NT", "beta": 0.1},
    {"sapo_temperature_pos": 0.7, "sapo_temperature_neg": 1.9},
)


def inputs():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    logprobs = -draw(N, T).abs()
    mask = torch.rand(N, T, generator=generator) > 0.25
    mask[:, 0] = True  # every row has a token: TRL counts empty rows, r1core does not
    return {
        "logprobs": logprobs,
        "old_logprobs": logprobs + 0.4 * draw(N, T),
        "reference_logprobs": logprobs + 0.3 * draw(N, T),
        "sampler_logprobs": logprobs + 0.4 * draw(N, T),
        "entropies": draw(N, T).abs(),
        "advantages_N": draw(N),
        "advantages_NT": draw(N, T),
        "mask": mask,
    }


def trainer(loss_type, level, variant, logprobs, entropies):
    """A GRPOTrainer with the attributes that `_compute_loss` reads."""
    self = GRPOTrainer.__new__(GRPOTrainer)
    self._get_per_token_logps_and_entropies = lambda *_, **__: (logprobs, entropies, None)
    self.args = SimpleNamespace(
        delta=variant.get("delta"),
        use_bias_correction_kl=variant.get("use_bias_correction_kl", True),
        sapo_temperature_pos=variant.get("sapo_temperature_pos", 1.0),
        sapo_temperature_neg=variant.get("sapo_temperature_neg", 1.05),
        steps_per_generation=1,
    )
    epsilon = variant.get("epsilon", 0.2)
    settings = {
        "loss_type": loss_type,
        "importance_sampling_level": level,
        "beta": variant.get("beta", 0.0),
        "epsilon_low": epsilon,
        "epsilon_high": variant.get("epsilon_high", epsilon),
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "aux_loss_enabled": False,
        "use_vllm": "mode" in variant,
        "vllm_importance_sampling_correction": "mode" in variant,
        "max_completion_length": MAX_COMPLETION_LENGTH,
        "current_gradient_accumulation_steps": 1,
        "entropy_coef": variant.get("entropy_coef", 0.0),
        "_entropy_bonus_enabled": "entropy_coef" in variant,
        "use_adaptive_entropy": False,
        "model": SimpleNamespace(training=True),
        "_metrics": {"train": defaultdict(list)},
        "accelerator": SimpleNamespace(
            num_processes=1,
            sync_gradients=True,
            gather=lambda x: x,
            reduce=lambda x, reduction: x,
        ),
    }
    self.__dict__.update(settings)
    return self


def importance_ratio(tensors, mode, clip_max=3.0):
    """The lines of TRL's trainer that weigh another sampler's tokens, run as they stand."""
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    begin = source.rindex("\n", 0, source.index("per_token_logps_diff = (old_per_token_logps")) + 1
    end = source.index("# Compute the per-token log probabilities for the reference model", begin)
    names = {
        "torch": torch,
        "math": math,
        "self": SimpleNamespace(
            vllm_importance_sampling_mode=mode,
            vllm_importance_sampling_clip_min=None,
            vllm_importance_sampling_clip_max=clip_max,
        ),
        "old_per_token_logps": tensors["old_logprobs"],
        "sampling_per_token_logps": tensors["sampler_logprobs"],
        "mask": tensors["mask"],
    }
    exec(textwrap.dedent(source[begin : source.rindex("\n", 0, end)]), names)
    return names["vllm_importance_sampling_ratio"]


def run(tensors, loss_type, level, variant):
    logprobs, entropies = (
        tensors[name].clone().requires_grad_() for name in ("logprobs", "entropies")
    )
    blank = torch.zeros(N, 1, dtype=torch.int64)
    mask = tensors["mask"].long()
    call = {
        "prompt_ids": blank,
        "prompt_mask": blank,
        "completion_ids": mask,
        "completion_mask": mask,
        "advantages": tensors[variant.get("advantages", "advantages_N")],
        "old_per_token_logps": tensors["old_logprobs"],
        "ref_per_token_logps": tensors["reference_logprobs"],
        "num_items_in_batch": mask.sum(),
    }
    if "mode" in variant:
        call["importance_sampling_ratio"] = importance_ratio(tensors, variant["mode"])
    self = trainer(loss_type, level, variant, logprobs, entropies)
    loss = self._compute_loss(None, call)
    loss.backward()
    metrics = {name: values[0] for name, values in self._metrics["train"].items()}
    return {
        "loss_type": loss_type,
        "level": level,
        "variant": variant,
        "loss": loss.item(),
        "grad_logprobs": logprobs.grad.tolist(),
        "grad_entropies": None if entropies.grad is None else entropies.grad.tolist(),
        "metrics": metrics if level == "token" else {},  # else one value per row, not per token
    }


def applies(loss_type, variant):
    """Whether r1core takes the setting: it rejects a delta that TRL would ignore."""
    return not ("delta" in variant and loss_type in ("cispo", "sapo"))


def main():
    tensors = inputs()
    cases = [
        run(tensors, loss_type, level, variant)
        for loss_type, level, variant in itertools.product(LOSS_TYPES, LEVELS, VARIANTS)
        if applies(loss_type, variant)
    ]
    fixture = {
        "trl": trl.__version__,
        "max_completion_length": MAX_COMPLETION_LENGTH,
        "inputs": {name: tensor.tolist() for name, tensor in tensors.items()},
        "importance_ratios": {
            f"{mode}, {clip_max}": importance_ratio(tensors, mode, clip_max).tolist()
            for mode in MODES
            for clip_max in (3.0, 1.2)
        },
        "cases": cases,
    }
    path = Path(__file__).with_name("trl_loss.json")
    path.write_text(json.dumps(fixture, separators=(",", ":")).replace("{", "\n{") + "\n")


if __name__ == "__main__":
    main()

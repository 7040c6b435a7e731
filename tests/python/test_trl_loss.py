"""Against TRL's own loss, recorded by tests/data/make_trl_loss_fixtures.py.

By design r1core differs where nothing here looks: rows without tokens leave its denominators, and
the counts behind an average are the caller's (`normalizer`), not those of a micro-batch. TRL's KL
in the loss is k3; k1 and k2 are tested against the oracle alone.
"""

import json
from pathlib import Path

import pytest
import torch

from r1core.grpo_loss import LossConfig, grpo_loss
from r1core.importance import importance_weights

FIXTURE = json.loads((Path(__file__).parents[1] / "data" / "trl_loss.json").read_text())
INPUTS = {
    name: torch.tensor(values, dtype=torch.bool if name == "mask" else torch.float64)
    for name, values in FIXTURE["inputs"].items()
}


def case_id(case):
    settings = ",".join(f"{key}={value}" for key, value in case["variant"].items())
    return f"{case['loss_type']}-{case['level']}-{settings}"


@pytest.mark.parametrize("case", FIXTURE["cases"], ids=case_id)
def test_loss_gradients_and_metrics_are_trls(case):
    settings = dict(case["variant"])
    mode = settings.pop("mode", None)
    advantages = INPUTS[settings.pop("advantages", "advantages_N")]
    for name in ("sapo_temperature_pos", "sapo_temperature_neg"):  # TRL holds them in float32
        settings[name] = float(torch.tensor(settings.get(name, getattr(LossConfig, name))))
    config = LossConfig(
        loss_type=case["loss_type"],
        importance_sampling_level=case["level"],
        max_completion_length=FIXTURE["max_completion_length"],
        **settings,
    )
    weights = None
    if mode is not None:
        weights = importance_weights(
            INPUTS["old_logprobs"], INPUTS["sampler_logprobs"], INPUTS["mask"], mode=mode
        )
    logprobs, entropies = (
        INPUTS[name].clone().requires_grad_() for name in ("logprobs", "entropies")
    )
    loss, metrics = grpo_loss(
        logprobs,
        advantages,
        mask=INPUTS["mask"],
        old_logprobs=INPUTS["old_logprobs"],
        reference_logprobs=INPUTS["reference_logprobs"] if config.beta else None,
        importance_weights=weights,
        entropies=entropies,
        config=config,
    )
    loss.backward()
    assert loss.item() == pytest.approx(case["loss"], rel=1e-12)
    expected = torch.tensor(case["grad_logprobs"], dtype=torch.float64)
    torch.testing.assert_close(logprobs.grad, expected, rtol=1e-12, atol=1e-15)
    if case["grad_entropies"] is not None:
        expected = torch.tensor(case["grad_entropies"], dtype=torch.float64)
        torch.testing.assert_close(entropies.grad, expected, rtol=1e-12, atol=1e-15)
    reported = metrics.as_dict() | {"entropy": metrics.entropy}
    for name, value in case["metrics"].items():
        if name in reported and not name.endswith(("_min", "_max")):  # TRL: over rows
            assert reported[name] == pytest.approx(value, rel=1e-6), name  # TRL averages in float


def test_every_loss_type_and_level_is_covered():
    seen = {(case["loss_type"], case["level"]) for case in FIXTURE["cases"]}
    assert len(seen) == 12
    assert {name for case in FIXTURE["cases"] for name in case["metrics"]} >= {
        "kl",
        "entropy",
        "policy_loss",
        "clip_ratio/low_mean",
        "clip_ratio/high_mean",
        "clip_ratio/region_mean",
        "cispo_clip_ratio",
    }


@pytest.mark.parametrize("setting", FIXTURE["importance_ratios"])
def test_importance_weights_are_trls(setting):
    mode, clip_max = setting.split(", ")
    weights = importance_weights(
        INPUTS["old_logprobs"],
        INPUTS["sampler_logprobs"],
        INPUTS["mask"],
        mode=mode,
        clip_max=float(clip_max),
    )
    expected = torch.tensor(FIXTURE["importance_ratios"][setting], dtype=torch.float64)
    torch.testing.assert_close(weights, expected.expand_as(weights), rtol=1e-14, atol=0)

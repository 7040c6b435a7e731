import math

import pytest
import torch

from r1core import oracle
from r1core.importance import distinct_ratios, importance_weights
from r1core.kl import kl_penalty

SAMPLER = torch.zeros(2, 3)
TRAINER = torch.tensor([[2.0, 4.0, 0.5], [0.5, 3.0, 1.0]]).log()  # the ratios
MASK = torch.tensor([[True, True, True], [True, True, False]])


@pytest.mark.parametrize(
    "mode,expected",
    [
        ("token_truncate", [[2, 3, 0.5], [0.5, 3, 1]]),
        ("token_mask", [[2, 0, 0.5], [0.5, 3, 1]]),
        ("sequence_truncate", [[3, 3, 3], [1.5, 1.5, 1.5]]),
        ("sequence_mask", [[0, 0, 0], [1.5, 1.5, 1.5]]),
    ],
)
def test_ratios_above_the_bound_are_held_or_dropped(mode, expected):
    bound = 3.000001  # the ratio 3 itself is kept
    weights = importance_weights(TRAINER, SAMPLER, MASK, mode=mode, clip_max=bound)
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float32))


def test_no_gradient_flows_and_an_unknown_log_probability_weighs_one():
    trainer = TRAINER.clone().requires_grad_()
    sampler = SAMPLER.clone()
    sampler[0, 1] = math.nan
    weights = importance_weights(trainer, sampler, MASK)
    assert not weights.requires_grad and weights[0, 1] == 1


def test_the_same_sampler_weighs_every_token_one():
    weights = importance_weights(TRAINER, TRAINER, MASK, mode="sequence_mask")
    assert torch.equal(weights, torch.ones(2, 3))


def test_the_log_counts_tokens_or_rows():
    weights = importance_weights(TRAINER, SAMPLER, MASK, mode="token_truncate", clip_max=9.0)
    assert len(distinct_ratios(weights, MASK, "token_truncate")) == 5
    weights = importance_weights(TRAINER, SAMPLER, MASK, mode="sequence_mask", clip_max=9.0)
    rows = distinct_ratios(weights, MASK, "sequence_mask")
    torch.testing.assert_close(rows, torch.tensor([4.0, 1.5]))


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"mode": "tis"}, "mode must be one of token_truncate, token_mask.*; got tis"),
        ({"clip_max": 0.0}, "clip_max must be > 0; got 0.0"),
        ({"mask_NT": MASK[:1]}, r"tensors must have one shape \[N, T\]"),
    ],
)
def test_importance_weights_reject(changes, message):
    arguments = {"logprobs_NT": TRAINER, "sampler_logprobs_NT": SAMPLER, "mask_NT": MASK} | changes
    with pytest.raises(ValueError, match=f"^importance_weights: {message}"):
        importance_weights(**arguments)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_the_penalty_sums_the_estimates_of_the_masked_tokens(estimator):
    reference = TRAINER.double() - torch.tensor([[0.1, -0.2, 0.3], [0.0, 0.5, math.nan]])
    penalty = kl_penalty(TRAINER.double(), reference, MASK, estimator=estimator)
    estimates = oracle.kl(TRAINER.double(), reference, estimator).where(MASK, 0)
    torch.testing.assert_close(penalty, estimates.sum(-1))


def test_the_penalty_rejects_an_unknown_estimator():
    with pytest.raises(ValueError, match="kl_penalty: estimator must be k1, k2 or k3; got k4"):
        kl_penalty(TRAINER, SAMPLER, MASK, estimator="k4")

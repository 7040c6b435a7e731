"""Going on from a saved state gives the bits of a run that was never interrupted."""

import random

import numpy
import pytest
import torch
from models import qwen3_policy
from test_reasoning_rl import config, parameters, sevens

from r1core.grpo_loss import LossConfig
from r1core.lora import LoraSettings, add_lora
from r1core.rewards import RewardSpec
from r1core.stages.reasoning_rl import Batch, reasoning_rl
from r1core.stages.rl_state import RLState, load_random_state, random_state

STEPS = 7
SETTINGS = {
    "plain": {},
    "minibatches and iterations": {"minibatches": 2, "num_iterations": 2},
    "a reference that moves": {"loss": LossConfig.r1(), "reference_every": 3, "minibatches": 2},
    "a schedule": {
        "optimizer": {"lr": 3e-3, "schedule": "cosine", "warmup_steps": 2},
        "length_schedule": [{"step": 4, "max_new_tokens": 9}],
    },
    "dynamic sampling": {"dynamic_sampling_rounds": 5},
    "bfloat16": {"loss": LossConfig.r1(), "reference_every": 3, "minibatches": 2},
    "an adapter": {"loss": LossConfig.r1(), "reference_every": 3, "minibatches": 2},
}


def policy_of(name, **changes):
    """Return the policy that a case trains."""
    policy = qwen3_policy(vocab_size=10, **changes)
    if name == "bfloat16":
        policy.model.to(torch.bfloat16)
    if name == "an adapter":
        add_lora(policy, LoraSettings(r=4), seed=1)
    return policy


def noisy(completion_ids, **columns):
    """Draws from every global generator, as a careless reward function may."""
    noise = random.random() + numpy.random.rand() + torch.rand(()).item()
    return [score + noise for score in sevens(completion_ids)]


class Source:
    """Yields questions one by one and knows how many it gave."""

    def __init__(self, given=0):
        self.given = given

    def __iter__(self):
        while True:
            self.given += 1
            yield Batch(prompts=[[1, 2, 3]], columns={}, uids=[self.given - 1])


def stage(policy, source, state, settings):
    return reasoning_rl(policy, source, [RewardSpec.resolve(noisy)], settings, state)


def through_a_file(value, path):
    torch.save(value, path)
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("last", range(1, STEPS))
def test_a_saved_state_continues_bit_for_bit(tmp_path, name, last):
    settings = config(steps=STEPS, **SETTINGS[name])
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    whole = policy_of(name)
    expected, source, state = [], Source(), RLState(whole, settings)
    for stats in stage(whole, source, state, settings):
        expected.append(stats.metrics)
        if stats.step == last:
            parts = {"state": state.state_dict(), "policy": whole.state_dict()}
            parts |= {"random": random_state(), "given": source.given}
            saved = through_a_file(parts, tmp_path / "state.pt")
    other = policy_of(name, seed=5)  # the state brings the weights
    other.load_state_dict(saved["policy"])
    going_on = RLState(other, settings)
    going_on.load_state_dict(saved["state"])
    random.seed(2), numpy.random.seed(2), torch.manual_seed(2)
    load_random_state(saved["random"])
    source = Source(saved["given"])
    metrics = [stats.metrics for stats in stage(other, source, going_on, settings)]
    assert torch.equal(parameters(other), parameters(whole))
    timed = ("time/", "step_time", "tokens_per_second")
    for mine, theirs in zip(metrics, expected[last:], strict=True):
        assert {k: v for k, v in mine.items() if not k.startswith(timed)} == {
            k: v for k, v in theirs.items() if not k.startswith(timed)
        }

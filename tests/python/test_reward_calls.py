"""What reward functions are told of the training, and whose error it is when one fails."""

import json
import sys

import pytest
from models import qwen2_policy, qwen3_policy
from test_pipeline import recipe
from test_reasoning_rl import train
from test_score_rollouts import rollouts

from r1core.pipeline import run_recipe
from r1core.reward_sections import InDomain
from r1core.rewards import TrainerState, score_rollouts

SEEN = []


def watches(prompts, completions, trainer_state, **columns):
    SEEN.append((trainer_state.global_step, trainer_state.max_steps))
    return [float(len(completion) % 2) for completion in completions]


def test_a_training_stage_tells_rewards_its_step():
    SEEN.clear()
    train(qwen3_policy(vocab_size=10), reward=watches, steps=3)
    assert SEEN == [(0, 3), (1, 3), (2, 3)]


def test_a_run_tells_rewards_its_step_in_evaluations_too(tmp_path):
    SEEN.clear()
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    row = {"question": "What is 3 + 4?", "answer": "#### 7"}
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(9 * (json.dumps(row) + "\n"))
    rewards = 'zero.rewards=[{name="test_reward_calls:watches"}]'
    run_recipe(recipe(tmp_path / "model", tmp_path, rewards), tmp_path / "run")
    assert SEEN == [(0, 2), (0, 2), (1, 2), (2, 2)]  # evaluation, two updates, evaluation


def test_outside_of_training_rewards_see_step_0():
    SEEN.clear()
    score_rollouts(rollouts(["a"]), [watches])
    score_rollouts(rollouts(["a"]), [InDomain(watches, "x")], {"domain": ["x"]})
    score_rollouts(rollouts(["a"]), [watches], trainer_state=TrainerState(5, 9))
    assert SEEN == [(0, 0), (0, 0), (5, 9)]


def leaves(completions):
    sys.exit(3)


async def leaves_later(completions):
    sys.exit(3)


@pytest.mark.parametrize("reward", [leaves, leaves_later])
def test_a_reward_that_exits_is_an_error_of_that_reward(reward):
    name = reward.__name__
    with pytest.raises(RuntimeError, match=rf"reward '{name}' raised SystemExit: 3"):
        score_rollouts(rollouts(["a"]), [reward])


def test_an_option_that_is_missing_is_named_as_one():
    with pytest.raises(ValueError, match=r"needs 'max_length', .* data or one of `options`; got"):
        score_rollouts(rollouts(["a"]), ["soft_overlong_punishment"])

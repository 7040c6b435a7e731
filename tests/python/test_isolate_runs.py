"""Isolated rewards in a run: from the recipe to the metrics, and on from where it stopped."""

import json
import warnings

import isolated_rewards as user
import pytest
from models import qwen2_policy, qwen3_policy
from test_isolate import isolated, scores
from test_pipeline import recipe as gsm8k_recipe
from test_reasoning_rl import train
from test_score_rollouts import rollouts

from r1core.pipeline import run_recipe
from r1core.recipe import RecipeError, parse_recipe, to_toml
from r1core.rewards import RewardSpec, score_rollouts
from r1core.rewards.isolate import _POOLS, run_isolated
from r1core.rewards.soft_deadline import forget_warnings
from r1core.stages.metrics import reward_metrics
from r1core.tracking import read_metrics


def test_in_process_a_deadline_only_warns_once_a_run_while_the_function_runs():
    spec = RewardSpec.resolve(user.slow, timeout_seconds=0.05)
    batch, columns = rollouts(["ab"]), {"seconds": [0.2]}
    forget_warnings()
    with pytest.warns(UserWarning, match=r"reward 'slow' has been running for 0.05 s.*isolate ="):
        assert scores(score_rollouts(batch, [spec], columns)) == [2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score_rollouts(batch, [spec], columns)
    forget_warnings()


def test_lost_calls_are_metrics_of_isolated_functions_only():
    metrics = reward_metrics(isolated(["a", "exit"], user.does_what_it_reads))
    assert metrics["rewards/does_what_it_reads/crashes"] == 1
    assert metrics["rewards/does_what_it_reads/timeouts"] == 0
    plain = reward_metrics(score_rollouts(rollouts(["a"]), [user.length]))
    assert not [name for name in plain if "timeouts" in name or "crashes" in name]


RECIPE = {
    "name": "test",
    "model": {"world": "sum_chain"},
    "stage": [
        {
            "name": "zero",
            "kind": "reasoning_rl",
            "from": "base",
            "data": {"world": "sum_chain", "split": "train"},
            "steps": 1,
        }
    ],
}


def recipe(**row):
    stage = RECIPE["stage"][0] | {"rewards": [row]}
    return parse_recipe(RECIPE | {"stage": [stage]}, "test")


def test_a_recipe_says_what_is_isolated():
    found = recipe(name="isolated_rewards:length", isolate="row", timeout_seconds=5)
    assert 'isolate = "row"' in to_toml(found) and "timeout_seconds = 5.0" in to_toml(found)
    assert "isolate" not in to_toml(recipe(name="accuracy"))
    with pytest.raises(RecipeError, match=r"isolate: Input should be 'batch' or 'row'"):
        recipe(name="accuracy", isolate="rows")
    with pytest.raises(RecipeError, match=r"timeout_seconds: .* greater than 0; got -1"):
        recipe(name="accuracy", timeout_seconds=-1)


def test_a_policy_trains_with_an_isolated_reward_as_with_the_same_in_process():
    spec = RewardSpec.resolve("isolated_rewards:sevens", isolate="row", workers=2)
    apart = train(qwen3_policy(vocab_size=10), reward=spec)
    here = train(qwen3_policy(vocab_size=10), reward=user.sevens)
    assert [s.metrics["reward"] for s in apart] == [s.metrics["reward"] for s in here]
    assert apart[-1].metrics["rewards/sevens/timeouts"] == 0


ISOLATED = 'name="isolated_rewards:%s", isolate="row", workers=2, timeout_seconds=%s'


@pytest.fixture
def tiny(tmp_path):
    """Return what makes a recipe of two steps on a random model, with one isolated reward."""
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    row = {"question": "What is 3 + 4?", "answer": "#### 7"}
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(9 * (json.dumps(row) + "\n"))

    def tiny(function, timeout_seconds=5.0, *overrides):
        row = ISOLATED % (function, timeout_seconds)
        return gsm8k_recipe(tmp_path / "model", tmp_path, f"zero.rewards=[{{{row}}}]", *overrides)

    return tiny


def steps(directory):
    return [line for line in read_metrics(directory) if "reward" in line]


def test_a_run_with_an_isolated_reward_goes_on_where_it_stopped(tmp_path, tiny, monkeypatch):
    chosen = tiny("draws")  # scores are random numbers
    run_recipe(chosen, tmp_path / "whole")
    assert not _POOLS  # the workers end with the run
    rewards = [step["reward"] for step in steps(tmp_path / "whole")]
    assert len(set(rewards)) == 2

    calls = []

    def fails_in_step_2(*arguments):
        calls.append(run_isolated(*arguments))
        if len(calls) == 3:  # after the evaluation and step 1
            raise OSError("disk full")
        return calls[-1]

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr("r1core.rewards.call.run_isolated", fails_in_step_2)
        run_recipe(chosen, tmp_path / "stopped")
    assert len(steps(tmp_path / "stopped")) == 1
    run_recipe(chosen, tmp_path / "stopped")
    assert [step["reward"] for step in steps(tmp_path / "stopped")] == rewards


def test_a_run_counts_the_rows_that_hang_and_trains_on_the_others(tmp_path, tiny):
    small = ["zero.steps=1", "zero.evaluation.questions=1", "zero.evaluation.samples=1"]
    run_recipe(tiny("hangs_on_some", 0.2, *small), tmp_path / "run")
    [step] = steps(tmp_path / "run")
    assert 0 < step["rewards/hangs_on_some/timeouts"] < 8
    assert step["rewards/hangs_on_some/crashes"] == 0
    assert step["rewards/hangs_on_some/abstained"] * 8 == step["rewards/hangs_on_some/timeouts"]

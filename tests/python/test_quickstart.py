"""The quickstart at full length, over three seeds: minutes, so `make test-slow` only."""

import pytest

from r1core.pipeline import run_recipe
from r1core.recipe import load_recipe
from r1core.tracking import read_metrics


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_base_guesses_and_the_policy_reasons(seed, tmp_path, shared_cache):
    run_recipe(load_recipe("quickstart", [f"seed={seed}"]), tmp_path / "run")
    evaluations = [line for line in read_metrics(tmp_path / "run") if "eval/pass@1" in line]
    before, after = evaluations[0], evaluations[-1]
    assert before["eval/pass@1"] <= 0.20
    assert after["eval/pass@1"] >= 0.90
    assert after["eval/mean_length"] >= 2.5 * before["eval/mean_length"]

"""The worlds' recipes at full length, over three seeds: minutes, so `make test-slow` only."""

import pytest

from r1core.pipeline import run_recipe
from r1core.recipe import load_recipe
from r1core.tracking import read_metrics


def evaluations(recipe, seed, directory):
    """Run a recipe; return its evaluations by step."""
    run_recipe(load_recipe(recipe, [f"seed={seed}"]), directory)
    lines = [line for line in read_metrics(directory) if "eval/pass@1" in line]
    return {line["step"]: line for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("recipe", ["quickstart", "sum_chain_off_policy"])
def test_the_base_guesses_and_the_policy_reasons(recipe, seed, tmp_path, shared_cache):
    found = evaluations(recipe, seed, tmp_path / "run")
    before, after = found[0], found[max(found)]
    assert before["eval/pass@1"] <= 0.20
    assert after["eval/pass@1"] >= 0.90
    assert after["eval/mean_length"] >= 2.5 * before["eval/mean_length"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_policy_searches_and_longer_once_it_may(seed, tmp_path, shared_cache):
    found = evaluations("pick_search", seed, tmp_path / "run")
    before, after = found[0], found[120]
    assert after["eval/pass@1"] >= 2.5 * before["eval/pass@1"]
    assert after["eval/words/wait"] >= 3 * before["eval/words/wait"]
    assert found[70]["eval/pass@1"] >= found[60]["eval/pass@1"] + 0.05  # the limit is raised at 70

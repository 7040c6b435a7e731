"""The paper's claims on the embedded worlds, at the recipes' own lengths: `make test-slow` only."""

import pytest

from r1core.pipeline import run_recipe
from r1core.recipe import load_recipe
from r1core.report_data import load_stages
from r1core.stage_table import stage_table

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("seed", [0, 1, 2])]


@pytest.fixture
def stages(tmp_path, shared_cache, seed):
    """Run a recipe with the seed; return its stages by name."""

    def run(name):
        run_recipe(load_recipe(name, [f"seed={seed}"]), tmp_path / "run")
        return {stage.name: stage for stage in load_stages(tmp_path / "run", {})}

    return run


def series(stage, metric):
    return stage.series(metric)[1]


def test_the_pipeline_has_the_shape_of_the_paper_s_table(stages):
    table = stage_table(list(stages("r1_tiny").values()))
    assert table.stages == ["zero", "dev1", "dev2", "dev3", "r1"]
    zero, dev1, dev2, dev3, r1 = range(5)
    rows = {(benchmark, measured): values for benchmark, measured, values in table.rows}
    reasoning = rows["reasoning", "accuracy"]
    assert reasoning[dev1] < reasoning[zero] and reasoning[dev2] > reasoning[dev1]
    assert reasoning[r1] > 0.97
    language = rows["reasoning", "language_consistency"]
    assert language[zero] < 0.8 and min(language[dev1:]) > 0.95
    instructions = rows["instructions", "instruction_reward"]
    assert instructions[dev1] > instructions[zero] and instructions[dev3] > instructions[dev2]
    quality = rows["preference", "quality_reward"]
    assert quality[r1] > quality[dev3] + 0.1
    assert rows["safety", "safety_reward"][r1] > 0.95


def test_distilling_beats_the_small_model_s_own_learning(stages):
    table = stage_table(list(stages("experiment_distill").values()))
    scores = dict(zip(table.stages, table.rows[0][2], strict=True))
    assert scores["student_distilled"] > 0.9 > 0.3 > scores["student_rl"]


def test_ppo_comes_near_with_lambda_1_and_is_later_with_less(stages):
    found = stages("experiment_ppo")
    by_step = [series(found[name], "eval/pass@1") for name in ("grpo", "ppo_lambda_1")]
    assert all(abs(a - b) < 0.05 for a, b in zip(*(x[-3:] for x in by_step), strict=True))
    late = series(found["ppo_lambda_095"], "eval/pass@1")
    assert late[2] < min(x[2] for x in by_step) - 0.1  # after ten updates


def test_the_language_mixes_unless_it_is_rewarded(stages):
    found = stages("experiment_language")
    share = {name: series(found[name], "eval/language_consistency") for name in found}
    assert share["with"][-1] > 0.95 > 0.8 > share["without"][-1]
    scores = [series(found[name], "eval/pass@1")[-1] for name in ("with", "without")]
    assert abs(scores[0] - scores[1]) < 0.05  # mathematics as good


def test_a_reward_model_followed_for_too_long_is_hacked(stages):
    found = stages("experiment_reward_hacking")["long"]
    liked, good = series(found, "eval/helpful"), series(found, "eval/quality_reward")
    assert liked[-1] > liked[len(liked) // 2] > liked[0]
    assert max(good) > good[0] + 0.1 and good[-1] < max(good) - 0.1


def test_nothing_is_learnt_from_a_start_that_cannot(stages):
    found = stages("experiment_controls")
    assert series(found["ready"], "eval/pass@1")[-1] > 0.9
    for start in ("too_early", "from_random"):  # one of ten digits is right
        assert series(found[start], "eval/pass@1")[-1] < 0.15

"""The ledger of costs: tokens by what was done with them, operations, seconds."""

import pytest
import torch
from run_directory import write_run
from safetensors.torch import save_file

from r1core.cost import GPU_FLOP_PER_SECOND, parameter_count, stage_costs, stage_parameters
from r1core.report_data import StageRecord, load_recipe_tables, load_stages
from r1core.tracking import RunWriter


def stage_cost(tmp_path, settings, metrics):
    stage = StageRecord("it", metrics, settings=settings)
    return stage_costs(tmp_path, [stage], {}, parameters=1000)[0]


@pytest.mark.parametrize(
    ("settings", "sampled", "forward", "trained"),
    [
        ({"kind": "reasoning_rl"}, 90, 0, 90),
        ({"kind": "reasoning_rl", "loss": {"beta": 0.1}}, 90, 90, 90),
        ({"kind": "reasoning_rl", "minibatches": 4}, 90, 90, 90),
        ({"kind": "reasoning_rl", "num_iterations": 3, "loss": {"beta": 0.1}}, 90, 360, 270),
        ({"kind": "ppo"}, 90, 90, 180),
        ({"kind": "preference_rl"}, 90, 0, 90),
        ({"kind": "sft"}, 0, 0, 90),
        ({"kind": "distill"}, 0, 0, 90),
        ({"kind": "reward_model"}, 0, 0, 90),
        ({"kind": "cold_start"}, 90, 0, 0),
    ],
)
def test_tokens_by_what_was_done_with_them(tmp_path, settings, sampled, forward, trained):
    steps = {1: {"num_tokens": 40.0, "step_time": 2.0}, 2: {"num_tokens": 90.0, "step_time": 3.0}}
    cost = stage_cost(tmp_path, settings, steps)
    assert (cost.sampled, cost.forward, cost.trained) == (sampled, forward, trained)
    assert cost.seconds == 5
    assert cost.flop == 1000 * (2 * (sampled + forward) + 6 * trained)
    assert cost.gpu_hours == pytest.approx(cost.flop / GPU_FLOP_PER_SECOND / 3600)


def test_evaluations_and_benchmarks_count(tmp_path):
    write_run(tmp_path, steps=20, last=20)
    with RunWriter(tmp_path) as writer:
        benchmark = {"benchmark/a/num_tokens": 500.0, "benchmark/a/runtime": 4.0}
        writer.log("zero", 20, benchmark | {"eval/runtime": 3.0})
    recipe = load_recipe_tables(tmp_path)
    stages = load_stages(tmp_path, recipe)
    cost = stage_costs(tmp_path, stages, recipe, parameters=10)[0]
    lengths = [7, 10, 13]  # of 80 rows each at steps 0, 10, 20
    assert cost.evaluated == 80 * sum(lengths) + 500
    assert cost.seconds == pytest.approx(sum(stages[0].series("step_time")[1]) + 7)
    assert cost.flop == 10 * 2 * cost.evaluated


def test_parameters_are_those_of_what_the_stage_ran(tmp_path):
    for name, size in (("zero", 3), ("small", 2)):
        (tmp_path / "stages" / name).mkdir(parents=True)
        tensors = {"a": torch.zeros(size, size), "b": torch.zeros(5)}
        save_file(tensors, tmp_path / "stages" / name / "model.safetensors", {"format": "pt"})
    assert parameter_count(tmp_path / "stages/zero") == 14
    assert parameter_count(tmp_path / "stages/none") == 0
    recipe = {"stage": [{"name": "samples", "from": "small"}, {"name": "x", "from": "base"}]}
    assert stage_parameters(tmp_path, "samples", recipe, 77) == 9
    assert stage_parameters(tmp_path, "x", recipe, 77) == 77

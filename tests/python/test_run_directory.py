"""What a run directory may be gone on with, replaced or refused by."""

import pytest

from r1core.recipe import RecipeError, load_recipe
from r1core.run_directory import begin_run, holds_run

TWICE = 'zero.rewards=[{{name="m:f", weight={0}}}, {{name="m:f", options={{checkpoint="{1}"}}}}]'


def recipe(*overrides):
    return load_recipe("gsm8k_zero", overrides)


def begun(directory, recipe):
    """Write a run that has taken a step."""
    directory.mkdir(exist_ok=True)
    begin_run(directory, recipe, {"data": {}})
    (directory / "metrics.jsonl").write_text('{"stage": "zero", "step": 1}\n')
    return directory


@pytest.mark.parametrize(
    ("weight", "checkpoint", "message"),
    [
        (2.0, "a", r"stage.zero.rewards.m:f.weight is 1.0 there and 2.0 here"),
        (1.0, "b", r"stage.zero.rewards.m:f#2.options.checkpoint is 'a' there and 'b' here"),
    ],
)
def test_rewards_of_one_name_are_all_compared(tmp_path, weight, checkpoint, message):
    run = begun(tmp_path / "run", recipe(TWICE.format(1.0, "a")))
    assert holds_run(run, recipe(TWICE.format(1.0, "a")))
    with pytest.raises(RecipeError, match=message):
        holds_run(run, recipe(TWICE.format(weight, checkpoint)))


def test_checkpoints_and_trackers_may_change(tmp_path):
    run = begun(tmp_path / "run", recipe())
    compared = 'comparison=[{name="a", stages=["zero"], metrics=["reward"]}]'
    free = ["zero.checkpoint.every=3", 'trackers=["tensorboard"]', compared]
    assert holds_run(run, recipe(*free))


@pytest.mark.parametrize("name", ["checkpoint", "trackers", "comparison"])
def test_a_stage_of_a_free_table_s_name_may_not_change(tmp_path, name):
    one = recipe()

    def renamed(steps):
        stage = one.stage[0].model_copy(update={"name": name, "steps": steps})
        return one.model_copy(update={"stage": [stage]})

    run = begun(tmp_path / "run", renamed(1))
    with pytest.raises(RecipeError, match=f"stage.{name}.steps is 1 there and 2 here"):
        holds_run(run, renamed(2))


def test_a_run_without_a_result_makes_way(tmp_path):
    run = begun(tmp_path / "run", recipe())
    (run / "metrics.jsonl").write_text('{"stage": "ze')  # killed in the middle of a line
    for name in ("report.md", "wandb-run-id"):
        (run / name).write_text("x")
    for name in ("completions", "checkpoints", "tensorboard"):
        (run / name).mkdir()
    (run / "tensorboard" / "events").write_text("x")
    assert not holds_run(run, recipe("zero.steps=7"))


@pytest.mark.parametrize("kept", ["notes.txt", "pass_rates/zero.jsonl", "datasets/made.jsonl"])
def test_what_costs_time_or_is_foreign_is_kept(tmp_path, kept):
    run = begun(tmp_path / "run", recipe())
    (run / "metrics.jsonl").write_text("")
    (run / kept).parent.mkdir(exist_ok=True)
    (run / kept).write_text("x")
    with pytest.raises(RecipeError, match="holds a run of another recipe"):
        holds_run(run, recipe("zero.steps=7"))

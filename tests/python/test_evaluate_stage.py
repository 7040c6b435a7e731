"""The `evaluate` stage of a recipe: a result like `r1core eval`'s, and the policy as it was."""

import json

import pytest
from models import qwen2_policy

from r1core.evaluation import read_result
from r1core.pipeline import run_recipe
from r1core.policy import Policy
from r1core.recipe import RecipeError, parse_recipe
from r1core.tracking import read_metrics

GSM8K = [{"question": f"What is {n} + 2?", "answer": f"#### {n + 2}"} for n in range(6)]


@pytest.fixture
def recipe(tmp_path):
    """A recipe that evaluates its base, trains from there, and evaluates again."""
    qwen2_policy(max_position_embeddings=512).save_pretrained(tmp_path / "model")
    examples = [{"prompt": "Sum?", "completion": f"It is {n}."} for n in range(4)]
    for name, rows in (("test", GSM8K), ("sft", examples)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {"kind": "evaluate", "samples": 2, "max_new_tokens": 4}
    asked |= {"set": "gsm8k", "path": str(tmp_path / "test.jsonl"), "questions": 3}
    sft = {"kind": "sft", "name": "sft", "from": "before", "epochs": 1, "batch_size": 2}
    sft |= {"data": {"path": str(tmp_path / "sft.jsonl")}}

    def build(**changes):
        stages = [
            asked | {"name": "before", "from": "base"} | changes,
            sft,
            asked | {"name": "after", "from": "sft"},
        ]
        tables = {"name": "x", "model": {"path": str(tmp_path / "model")}, "stage": stages}
        return parse_recipe(tables, "test")

    return build


def test_a_stage_starts_from_what_an_evaluation_was_given(recipe, tmp_path):
    directory = tmp_path / "run"
    run_recipe(recipe(), directory)
    before, after = (read_result(directory / "stages" / name) for name in ("before", "after"))
    assert before.manifest["questions"] == after.manifest["questions"]
    assert (before.manifest["model"]["name"], after.manifest["model"]["name"]) == ("base", "sft")
    assert len(before.rows) == 6
    logged = {line["stage"]: line for line in read_metrics(directory) if "eval/pass@1" in line}
    assert set(logged) == {"before", "after"}
    assert logged["after"]["eval/mean_length"] == after.metrics["eval/mean_length"]
    assert (directory / "completions" / "before_eval_00000.parquet").is_file()
    base = Policy.from_pretrained(tmp_path / "model").model.state_dict()
    trained = Policy.from_pretrained(directory / "stages" / "sft").model.state_dict()
    assert any(not base[name].equal(trained[name]) for name in base)
    assert "## Stage before" in (directory / "report.md").read_text()


def test_a_finished_evaluation_is_not_asked_again(recipe, tmp_path, monkeypatch):
    from r1core import pipeline

    directory = tmp_path / "run"
    run_recipe(recipe(), directory)
    monkeypatch.setattr(pipeline, "run_evaluation", lambda *_: pytest.fail("asked again"))
    run_recipe(recipe(), directory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"set": None}, "exactly one of set and data"),
        ({"data": {"world": "sum_chain"}}, "exactly one of set and data"),
        ({"set": "gsm9k"}, "nearest: 'gsm8k'"),
        ({"set": "livecodebench"}, "needs the sandbox"),
        ({"set": None, "data": {"world": "sum_chain"}}, "path, shots, .* go with set"),
        ({"sample": 2}, "unknown key before.sample; did you mean 'before.samples'"),
    ],
)
def test_a_mistake_is_found_when_the_recipe_is_read(recipe, changes, message):
    with pytest.raises(RecipeError, match=message):
        recipe(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "nowhere.jsonl"}, "path must exist"),
        ({"max_new_tokens": 511}, "are longer"),
        ({"max_new_tokens": 600}, "of 512.* got 600"),
    ],
)
def test_questions_that_cannot_be_asked_cost_no_training(recipe, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run_recipe(recipe(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()

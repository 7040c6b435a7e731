"""The picture of a pipeline, and stages compared in one."""

import pytest
from run_directory import write_run

from r1core.comparison_plot import draw_comparison
from r1core.pipeline_plot import COLUMN, draw_pipeline, edges_of, place, used_stages
from r1core.recipe import RecipeError, find_recipe, load_recipe
from r1core.report_data import StageRecord
from r1core.report_pipeline import comparison_sections

R1 = load_recipe("r1_tiny").model_dump(mode="json", by_alias=True, exclude_none=True)


def test_the_paper_s_figure_is_what_the_recipe_says():
    edges = edges_of(R1["stage"])
    starts = {(source, target) for source, target, begins in edges if begins}
    uses = {(source, target) for source, target, begins in edges if not begins}
    assert {("base", "zero"), ("base", "dev1"), ("dev1", "dev2"), ("base", "dev3")} < starts
    assert ("dev3", "r1") in starts
    assert uses == {
        ("cold_start", "dev1"),
        ("samples", "dev3"),
        ("pairs", "helpful"),
        ("labels", "harmless"),
        ("helpful", "r1"),
        ("harmless", "r1"),
    }


def test_every_box_is_right_of_what_it_is_made_from_and_none_covers_another():
    edges = edges_of(R1["stage"])
    kinds = {"base": "base"} | {stage["name"]: stage["kind"] for stage in R1["stage"]}
    places = place(kinds, edges)
    assert all(places[source][0] + COLUMN <= places[target][0] for source, target, _ in edges)
    assert len(set(places.values())) == len(places)


def test_used_stages_are_found_at_any_depth():
    table = {"name": "r1", "data": {"stage": "a"}, "rewards": [{"name": "x", "stage": "b"}, {}]}
    assert used_stages(table) == ["a", "b"]


def test_pictures_are_drawn_where_there_is_something_to_draw(tmp_path):
    assert draw_pipeline(R1, {"zero": "98.0 %"}, tmp_path / "a.png") == tmp_path / "a.png"
    assert draw_pipeline({"stage": R1["stage"][:1]}, {}, tmp_path / "b.png") is None
    two = [StageRecord("x", {0: {"eval/pass@1": 0.1}, 9: {"eval/pass@1": 0.9}}), StageRecord("y")]
    assert draw_comparison(two, ["eval/pass@1", "none"], tmp_path / "c.png")
    assert draw_comparison(two, ["none"], tmp_path / "d.png") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "c.png"]


def test_a_comparison_ends_in_the_report_with_its_last_figures(tmp_path):
    write_run(tmp_path, stages=("zero", "other"))
    stages = [StageRecord("zero", {1: {"reward": 0.5}, 2: {"reward": 0.75}}), StageRecord("other")]
    asked = {"name": "Both", "stages": ["other", "zero", "gone"], "metrics": ["reward"]}
    text = "\n".join(comparison_sections(tmp_path, stages, {"comparison": [asked]}))
    assert "## Both" in text and "| zero | 0.75 |" in text and "| other | – |" in text


def test_a_comparison_of_no_stage_is_an_error(tmp_path):
    text = find_recipe("quickstart").read_text()
    asked = 'comparison = [{ name = "a", stages = ["one"], metrics = ["reward"] }]\n'
    (tmp_path / "r.toml").write_text(asked + text)
    with pytest.raises(RecipeError, match="comparison 'a': stages must be of zero; got 'one'"):
        load_recipe(tmp_path / "r.toml")

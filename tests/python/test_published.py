"""The paper's numbers, and which version of it prints which."""

import io

import pytest
from rich.console import Console

from r1core.eval_sets import EVAL_SETS
from r1core.published import VERSIONS, print_published, published, read_published


def value(model, benchmark, metric="pass@1", version=None):
    found = [r for r in published(benchmark, model, version) if r.metric == metric]
    assert len(found) == 1
    return found[0].value


@pytest.mark.parametrize(
    ("benchmark", "v1", "v2"), [("aime_2024", 71.0, 77.9), ("gpqa_diamond", 73.3, 75.8)]
)
def test_versions_that_differ_are_both_there(benchmark, v1, v2):
    assert value("R1-Zero", benchmark, version="v1") == v1
    assert value("R1-Zero", benchmark, version="v2") == v2
    assert value("R1-Zero", benchmark, version="nature") == v2
    assert len([r for r in published(benchmark, "R1-Zero") if r.metric == "pass@1"]) == 2


def test_zeros_vote_is_of_64_in_one_version_and_of_16_in_the_other():
    votes = {r.metric: r.versions for r in published("aime_2024", "R1-Zero") if r.value == 86.7}
    assert votes == {"cons@64": ("v1",), "cons@16": ("v2",)}


def test_versions_that_agree_are_one_row():
    (row,) = [r for r in published("math_500", "DeepSeek-R1")]
    assert row.value == 97.3 and row.versions == VERSIONS
    assert "v1 table 4" in row.tables and "Nature table 2" in row.tables


def test_the_stages_show_the_papers_shape():
    stages = ["R1-Zero", "R1-Dev1", "R1-Dev2", "R1-Dev3", "R1"]
    aime = [value(stage, "aime_2024", version="v2") for stage in stages]
    assert aime == [77.9, 59.0, 74.0, 78.1, 79.8]
    assert value("R1", "if_eval", "prompt strict") == 83.3
    assert len(published(model="R1-Dev1", version="nature")) == 21


@pytest.mark.parametrize(
    ("student", "aime", "rating"),
    [("R1-Distill-Qwen-1.5B", 28.9, 954), ("R1-Distill-Llama-70B", 70.0, 1633)],
)
def test_students_are_there(student, aime, rating):
    assert value(student, "aime_2024") == aime
    assert value(student, "codeforces_rating", "rating") == rating


def test_every_number_has_a_source_and_no_cell_is_there_twice():
    rows = read_published()
    assert all(r.tables and r.versions and set(r.versions) <= set(VERSIONS) for r in rows)
    assert all(0 < r.value <= 100 or r.metric == "rating" for r in rows)
    cells = [(r.model, r.benchmark, r.metric, v) for r in rows for v in r.versions]
    assert len(set(cells)) == len(cells)


def test_the_papers_sets_go_by_the_names_of_the_evaluation_sets():
    measured = {row.benchmark for row in read_published()}
    assert set(EVAL_SETS) - measured == {"gsm8k", "humaneval", "codeforces"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"benchmark": "aime"}, "benchmark must be one of .*nearest: 'aime_202"),
        ({"model": "R2"}, "model must be one of "),
        ({"version": "v3"}, "version must be one of v1, v2, nature; got 'v3'"),
    ],
)
def test_a_name_that_is_not_there_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        published(**arguments)


def test_the_table_says_where_a_number_is_from():
    console = Console(width=120, record=True, file=io.StringIO())
    print_published(published("codeforces_rating", "R1"), console)
    text = console.export_text()
    assert "2029" in text and "2029.0" not in text and "Nature table 2" in text

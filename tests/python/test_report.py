import json
import random
import shutil

import matplotlib
import numpy as np
import pytest
from PIL import Image
from run_directory import training_metrics, write_run

from r1core.markdown import fence, plain
from r1core.panels import optimisation_panels
from r1core.plots import draw_panels
from r1core.report import write_report
from r1core.report_data import (
    Share,
    StageRecord,
    accuracy_column,
    headline,
    load_stages,
    pair_transcripts,
    shares_by_level,
)
from r1core.tracking import RunWriter


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = write_run(tmp_path_factory.mktemp("finished"))
    return directory, write_report(directory).read_text()


@pytest.mark.parametrize("name", ["learning", "optimisation", "time"])
def test_report_draws_curves_that_are_not_blank(finished, name):
    directory, report = finished
    with Image.open(directory / f"zero_{name}.png") as image:
        pixels = np.asarray(image.convert("RGB"), dtype=float)
    assert pixels.shape[0] > 250 and pixels.shape[1] > 800
    assert pixels.std() > 20
    assert f"(zero_{name}.png)" in report


def test_report_has_every_part(finished):
    headings = [line for line in finished[1].splitlines() if line.startswith("#")]
    assert headings == [
        "# r1_tiny",
        "## Stage zero",
        "### By difficulty",
        "### Time",
        "### Transcripts",
        "## What it ran on",
        "## Settings",
    ]


def test_report_headline_is_first_evaluation_to_last(finished):
    row = next(line for line in finished[1].splitlines() if line.startswith("| zero |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["zero", "60"]
    assert cells[2].endswith("→ 100.0%")
    assert cells[4:6] == ["7.0 → 27.0", "0.00 → 1.80"]


def test_report_time_shares_add_up(finished):
    lines = finished[1].splitlines()
    start = lines.index("| phase | mean seconds per step | share |") + 2
    rows = [line.strip("|").split("|") for line in lines[start : start + 7]]
    seconds = [float(row[1]) for row in rows]
    assert [row[0].strip() for row in rows][3:] == [
        "forward + backward",
        "optimizer",
        "other",
        "step",
    ]
    assert sum(seconds[:-1]) == pytest.approx(seconds[-1], abs=0.005)  # printed to 3 digits


def test_report_says_what_an_embedded_world_shows_or_the_callers_note(tmp_path, finished):
    assert "does not conjure reasoning from nothing" in finished[1]
    directory = write_run(tmp_path, last=1)
    assert "> Only a smoke test." in write_report(directory, note="Only a smoke test.").read_text()


def test_report_of_a_killed_run_says_where_it_ended(tmp_path):
    directory = write_run(tmp_path, last=17)
    with open(directory / "metrics.jsonl", "a") as file:
        file.write('{"stage": "zero", "st')
    (directory / "completions" / "zero_eval_00020.parquet").write_bytes(b"PAR1 half a file")
    report = write_report(directory).read_text()
    assert "**Unfinished:** the log ends at step 17 of 60." in report
    assert "| level | step 0 | step 10 |" in report


def test_report_of_a_run_killed_before_its_second_evaluation_shows_the_first(tmp_path):
    report = write_report(write_run(tmp_path, last=0)).read_text()
    assert "| level | step 0 |" in report
    assert "Step 0, " in report and "→ last" in report
    assert not (tmp_path / "zero_time.png").exists()


def test_report_of_several_stages_has_a_section_each(tmp_path):
    report = write_report(write_run(tmp_path, stages=("first", "second"), last=2)).read_text()
    assert report.index("## Stage first") < report.index("## Stage second")
    assert {path.name for path in tmp_path.glob("*_learning.png")} == {
        "first_learning.png",
        "second_learning.png",
    }


def test_report_of_an_empty_directory_says_so(tmp_path):
    assert "No metrics were logged." in write_report(tmp_path).read_text()


def test_report_rejects_a_path_that_is_no_directory(tmp_path):
    with pytest.raises(ValueError, match="directory must be a run directory; got .*missing"):
        write_report(tmp_path / "missing")


@pytest.mark.parametrize("lost", ["completions", "recipe.toml", "manifest.json"])
def test_report_leaves_out_what_is_missing(tmp_path, finished, lost):
    directory = tmp_path / "run"
    shutil.copytree(finished[0], directory)
    target = directory / lost
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    assert "## Stage zero" in write_report(directory).read_text()


@pytest.mark.parametrize("name", ["recipe.toml", "manifest.json", "completions"])
def test_report_leaves_out_what_is_unreadable(tmp_path, name):
    directory = write_run(tmp_path, last=10)
    damaged = sorted((directory / name).iterdir()) if name == "completions" else [directory / name]
    for path in damaged:
        path.write_bytes(b"\xff\x00 not what it was")
    assert "## Stage zero" in write_report(directory).read_text()


@pytest.mark.parametrize("metric", [None, *training_metrics(1, 2, random.Random(0))])
def test_report_needs_no_metric_in_particular(tmp_path, metric):
    with RunWriter(tmp_path) as writer:
        writer.log("zero", 1, {} if metric is None else {metric: 0.0})
    assert "## Stage zero" in write_report(tmp_path).read_text()


def test_report_survives_metrics_that_are_never_finite(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.log("zero", 1, {"reward": float("nan"), "kl": float("inf"), "time/sampling": 0.0})
    write_report(tmp_path)
    assert list(tmp_path.glob("*.png")) == []


def test_report_shows_model_text_as_data(tmp_path):
    hostile = "```\n# Injected\n<script>alert(1)</script> \x1b[2J"
    row = {"prompt": hostile, "completion": hostile, "answer": "|`#", "accuracy": 0.0, "level": "|"}
    with RunWriter(tmp_path) as writer:
        writer.log("zero", 0, {"eval/pass@1": 0.0})
        writer.log_evaluation("zero", 0, [row])
    report = write_report(tmp_path).read_text()
    assert "\x1b" not in report
    assert f"````\n{hostile.replace(chr(27), '␛')}\n````" in report
    assert r"expected: \|\`\#" in report


def test_report_leaves_matplotlib_as_it_was(tmp_path):
    before, backend = dict(matplotlib.rcParams), matplotlib.get_backend(auto_select=False)
    write_report(write_run(tmp_path, last=2))
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend(auto_select=False) == backend


def test_stages_forget_what_a_resumed_run_did_over(tmp_path):
    with RunWriter(tmp_path) as writer:
        for step, reward in ((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.9)):
            writer.log("zero", step, {"reward": reward})
        writer.log_evaluation("zero", 3, [{"prompt": "stale"}])
    (stage,) = load_stages(tmp_path, {})
    assert stage.series("reward") == ([1, 2], [0.1, 0.9])
    assert stage.evaluations == {}


def test_stages_join_the_lines_of_a_step(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.log("zero", 1, {"reward": 0.1})
        writer.log("zero", 1, {"eval/pass@1": 0.5})
    (stage,) = load_stages(tmp_path, {})
    assert stage.metrics == {1: {"reward": 0.1, "eval/pass@1": 0.5}}


@pytest.mark.parametrize(
    ("right", "graded", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_interval_is_wilsons(right, graded, low, high):
    # 81 of 263 is the example of Newcombe (1998), which gives four digits.
    assert Share(right, graded).interval == pytest.approx((low, high), abs=5e-5)


def test_shares_by_level_count_right_answers_of_those_graded():
    rows = [
        {"level": level, "accuracy": score}
        for level, score in ((10, 1.0), (2, 0.0), (2, 1.0), (2, None), (10, 0.5), (None, 1.0))
    ]
    assert list(shares_by_level(rows).items()) == [(2, Share(1, 2)), (10, Share(1, 2))]


def test_shares_by_level_accept_named_levels():
    rows = [{"level": level, "accuracy_reward": 1.0} for level in ("hard", "easy")]
    assert list(shares_by_level(rows)) == ["easy", "hard"]


def test_accuracy_column_is_none_where_nothing_was_graded():
    assert accuracy_column([]) is None
    assert accuracy_column([{"prompt": "x", "brevity": 1.0}]) is None


def test_transcripts_pair_the_same_questions_first_samples():
    def rows(when):
        return [
            {"prompt": f"q{q}", "answer": "1", "level": -q, "completion": f"{when}{q}{sample}"}
            for q in range(8)
            for sample in range(2)
        ]

    pairs = pair_transcripts(rows("before"), rows("after")[::-1][:10][::-1], count=4)
    found = [[row["completion"] for row in pair] for pair in pairs]
    assert found == [
        ["before70", "after70"],
        ["before50", "after50"],
        ["before30", "after30"],
        ["before10"],
    ]


def test_headline_adds_up_the_words_and_leaves_out_what_is_missing():
    metrics = {"eval/pass@1": 0.5, "eval/words/wait": 0.25, "eval/words/but": 0.5}
    assert headline(metrics) == {"pass@1": 0.5, "reflective words": 0.75}


def test_fence_outlasts_the_longest_run_of_backticks():
    assert fence("a ````` b").startswith("``````\n")


def test_plain_text_stays_on_one_line():
    assert plain("a\n| b_c _d_ *e*") == r"a \| b_c \_d\_ \*e\*"


def test_manifest_is_shown_flat(finished):
    directory, report = finished
    assert json.loads((directory / "manifest.json").read_text())["versions"]["torch"] == "2.13"
    assert "| versions.torch | 2.13 |" in report


def test_curves_mark_where_the_length_limit_is_raised():
    metrics = {step: {"grad_norm": 0.1 * step} for step in (1, 2, 3)}
    limits = {"length_schedule": [{"step": 2, "max_new_tokens": 9}]}
    vertical = []
    for settings in ({}, limits):
        stage = StageRecord("zero", metrics=metrics, settings=settings)
        (axes,) = draw_panels(stage, optimisation_panels()).axes
        vertical.append([x for x in axes.lines if list(x.get_xdata()) == [2, 2]])
    assert [len(lines) for lines in vertical] == [0, 1]

"""`r1core eval`, `compare` and `published`: what they write, print and refuse."""

import dataclasses
import json
import math
import sys

import pytest
from models import qwen2_policy

from r1core import cli
from r1core.evaluation import ask_data, compare, evaluate_questions, read_result, run, write_result
from r1core.evaluation.compare import compare_results
from r1core.evaluation.run import Result
from r1core.stages.at_k import half_interval
from r1core.types import SamplingParams

REWARD = """
def even(completion_ids, **columns):
    return [float(sum(ids) % 2 == 0) for ids in completion_ids]
"""
FAST = ["--max-new-tokens", "6", "--samples", "2"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with a small model, questions in two formats, and a reward that varies."""
    qwen2_policy(max_position_embeddings=512).save_pretrained(tmp_path / "model")
    gsm8k = [{"question": f"What is {n} + 2?", "answer": f"#### {n + 2}"} for n in range(8)]
    math_500 = [
        {"problem": f"{n} + 1?", "solution": "", "answer": str(n + 1), "level": 1 + n % 2}
        for n in range(6)
    ]
    for name, rows in (("gsm8k", gsm8k), ("math", math_500)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "parity.py").write_text(REWARD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(monkeypatch, capsys):
    def run_command(*arguments):
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["r1core", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as error:
            status = error.code or 0
        return status, *capsys.readouterr()

    return run_command


def parity(place, **settings):
    policy = qwen2_policy()
    asked = ask_data(
        str(place / "gsm8k.jsonl"), policy.tokenizer, prompt="question", rewards=["parity:even"]
    )
    sampling = SamplingParams(n=4, max_new_tokens=6, temperature=0.6, **settings)
    return evaluate_questions(policy, asked, sampling)


def test_a_set_is_asked_and_what_was_done_is_written(place, command):
    arguments = ["eval", "model", "--set", "math_500", "--path", "math.jsonl", *FAST]
    status, output, errors = command(*arguments, "--reward", "parity:even", "--seed", 3)
    assert status == 0, errors
    directory = place / "runs" / "eval" / "model-math_500"
    assert sorted(p.name for p in directory.iterdir()) == [
        "eval.json",
        "manifest.json",
        "rows.parquet",
    ]
    result = read_result(directory)
    manifest = result.manifest
    assert manifest["questions"]["set"] == "math_500" and manifest["questions"]["count"] == 6
    assert manifest["template"] == {"name": "chat", "shots": 0}
    assert manifest["grader"] == {"rewards": ["accuracy", "even"], "version": run.GRADER_VERSION}
    assert manifest["sampling"]["temperature"] == 0.6 and manifest["sampling"]["seed"] == 3
    assert manifest["versions"]["torch"] and manifest["versions"]["r1core"]
    assert len(result.rows) == 12 and {row["level"] for row in result.rows} == {1, 2}
    assert result.metrics["eval/level/2/pass@1"] == 0
    for word in ("math_500: 6 questions, 2 samples each", "pass@1", "By difficulty", "97.3"):
        assert word in output


def test_stages_of_two_runs_have_their_own_results(place, command, monkeypatch):
    for name in ("k1", "k2"):
        (place / "runs" / name / "stages").mkdir(parents=True)
        qwen2_policy(max_position_embeddings=512).save_pretrained(f"runs/{name}/stages/zero")
        arguments = [f"runs/{name}/stages/zero", "--set", "gsm8k", "--path", "gsm8k.jsonl", *FAST]
        status, output, errors = command("eval", *arguments, "--questions", 2)
        assert status == 0 and f"runs/eval/{name}-zero-gsm8k" in output, errors
    monkeypatch.chdir(place / "runs" / "k1" / "stages")
    data = ["--set", "gsm8k", "--path", place / "gsm8k.jsonl", "--questions", 2]
    assert "runs/eval/k1-zero-gsm8k" in command("eval", "zero", *data, *FAST)[1]


def test_a_stage_is_asked_in_the_template_that_it_was_trained_with(place, command):
    qwen2_policy(max_position_embeddings=512).save_pretrained("runs/k/stages/zero")
    data = '{ path = "gsm8k.jsonl", template = "r1_zero" }'
    (place / "runs/k/recipe.toml").write_text(f'[[stage]]\nname = "zero"\ndata = {data}\n')
    asked = ["--data", "gsm8k.jsonl", "--prompt", "question", "--questions", "2", *FAST]
    for extra, expected in ((["--output", "a"], "r1_zero"), (["--template", "none"], "none")):
        status, out, err = command("eval", "runs/k/stages/zero", *asked, *extra)
        assert (status, err) == (0, "") and f"template {expected}" in out
    status, out, _ = command("eval", "model", *asked)  # of no run
    assert status == 0 and "template r1_zero" not in out


def test_the_figures_are_those_of_the_rows(place, command):
    arguments = ["--data", "gsm8k.jsonl", "--prompt", "question", "--reward", "parity:even"]
    assert command("eval", "model", *arguments, *FAST, "--output", "out")[0] == 0
    result = read_result(place / "out")
    scores = [row["accuracy"] for row in result.rows]
    assert 0 < sum(scores) < len(scores) == 16
    assert result.metrics["eval/pass@1"] == pytest.approx(sum(scores) / 16)
    means = [(scores[n] + scores[n + 1]) / 2 for n in range(0, 16, 2)]
    assert result.metrics["eval/pass@1/interval"] == pytest.approx(half_interval(means))
    pairs = zip(scores[::2], scores[1::2], strict=True)
    assert result.metrics["eval/pass@2"] == pytest.approx(sum(max(pair) for pair in pairs) / 8)


def test_an_embedded_world_is_asked_its_own_questions(place, command, monkeypatch):
    from r1core import cli_eval

    policy = qwen2_policy()
    monkeypatch.setattr(cli_eval, "load_model", lambda *_: policy)
    status, output, errors = command("eval", "--world", "sum_chain", "--questions", 5, *FAST)
    assert status == 0, errors
    manifest = read_result(place / "runs/eval/sum_chain-sum_chain").manifest
    assert manifest["questions"]["source"] == "world 'sum_chain'"
    assert manifest["model"]["name"] == "world sum_chain"
    assert manifest["template"]["name"] == "none"
    assert "Published" not in output


def test_the_paper_says_how_often_a_set_is_asked(place, command):
    arguments = ["--set", "math_500", "--path", "math.jsonl", "--questions", 1]
    assert command("eval", "model", *arguments, "--max-new-tokens", 2, "--output", "out")[0] == 0
    manifest = read_result(place / "out").manifest
    assert manifest["sampling"]["n"] == 16
    assert (manifest["sampling"]["temperature"], manifest["sampling"]["top_p"]) == (0.6, 0.95)


def test_an_evaluation_in_parts_is_the_same_one(place, monkeypatch):
    whole, again, other = parity(place), parity(place), parity(place, seed=1)
    monkeypatch.setattr(run, "ROWS_AT_ONCE", 12)  # three questions at a time
    parts = parity(place)
    assert parts.rows == whole.rows == again.rows != other.rows
    assert parts.metrics == pytest.approx(whole.metrics)


def test_progress_counts_every_answer_once(place):
    policy, seen = qwen2_policy(), []
    asked = ask_data(
        str(place / "gsm8k.jsonl"), policy.tokenizer, prompt="question", rewards=["parity:even"]
    )
    sampling = SamplingParams(n=600, max_new_tokens=2)
    evaluate_questions(policy, asked, sampling, on_progress=lambda done, **_: seen.append(done))
    assert seen == sorted(seen) and seen[-1] == 8 * 600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model"], "--set, --data or --world must say what to ask"),
        (["--set", "gsm8k"], "MODEL or --world must say what to evaluate"),
        (["model", "--set", "gsm8k", "--data", "x"], "one of --set and --data"),
        (["model", "--data", "x", "--shots", "2"], "--shots must go with --set; got '2'"),
        (["model", "--data", "x", "--path", "y"], "--path must go with --set; got 'y'"),
        (["--world", "sum_chain", "--template", "chat"], "--template must go with --set and"),
        (["model", "--set", "gsm9k"], "nearest: 'gsm8k'"),
        (["model", "--set", "humaneval"], "grading code needs the sandbox"),
        (["model", "--set", "gsm8k", "--path", "math.jsonl"], "must have a column"),
        (["model", "--set", "gsm8k", "--path", "gsm8k.jsonl", "--shots", "1"], "need shots_path"),
        (["model", "--data", "gsm8k.jsonl"], "prompt must name a column"),
        (["model", "--set", "gsm8k", "--template", "chatty"], "--template must be r1_zero"),
        (["run", "--set", "gsm8k"], "MODEL must be one stage of a run, .*which has dev1, zero"),
        (["model", "--set", "gsm8k", "--output", "parity.py"], "must be a directory"),
        (["model", "--set", "gsm8k", "--output", "run"], "must be a new directory"),
        (
            ["model", "--set", "gsm8k", "--path", "gsm8k.jsonl", "--max-new-tokens", "505"],
            "all 8 of gsm8k.jsonl are longer",
        ),
    ],
)
def test_a_mistake_is_one_line(place, command, arguments, message):
    import re

    for stage in ("zero", "dev1"):
        (place / "run" / "stages" / stage).mkdir(parents=True)
    status, _, errors = command("eval", *arguments)
    assert status == 2 and re.search(f"error: .*{message}", errors), errors


def test_an_earlier_result_is_replaced_only_when_told(place, command):
    arguments = ["eval", "model", "--set", "gsm8k", "--path", "gsm8k.jsonl", *FAST]
    arguments += ["--questions", 2, "--output", "out"]
    assert command(*arguments)[0] == 0
    status, _, errors = command(*arguments)
    assert status == 2 and "--overwrite" in errors
    assert command(*arguments, "--overwrite")[0] == 0


def result_of(scores, **manifest):
    """Return a result whose questions have these samples."""
    rows = [
        {"question": f"q{q}", "answer": "1", "accuracy": score, "completion": ""}
        for q, samples in enumerate(scores)
        for score in samples
    ]
    settings = {"questions": {"fingerprint": "x"}, "sampling": {"seed": 0}} | manifest
    return Result({"eval/pass@1": 0.0}, rows, settings)


def test_the_difference_is_paired_by_question():
    a = result_of([(1, 0), (0, 0), (1, 1), (0, 1)])
    b = result_of([(1, 1), (0, 1), (1, 1), (1, 1)])
    found = compare_results(a, b)
    assert found.comparable and found.differences == [] and found.common == 4
    assert found.pass_at_1 == (0.5, 0.875) and found.difference == 0.375
    spread = math.sqrt(((0.125**2) * 3 + 0.375**2) / 3 / 4)
    assert found.interval == pytest.approx(1.959964 * spread)
    assert compare_results(b, a).difference == -0.375


def test_only_questions_that_both_graded_count():
    found = compare_results(result_of([(1,), (math.nan,), (0,)]), result_of([(1,), (1,)]))
    assert found.common == 1 and found.difference == 0 and math.isnan(found.interval)
    nothing = dataclasses.replace(result_of([]), rows=[])
    assert compare_results(nothing, nothing).common == 0


@pytest.mark.parametrize(
    ("changed", "comparable"),
    [
        ({"questions": {"fingerprint": "y"}}, False),
        ({"grader": {"version": 2}}, False),
        ({"template": {"name": "chat"}}, False),
        ({"sampling": {"seed": 1}}, True),
        ({"model": {"name": "another"}}, True),
    ],
)
def test_numbers_compare_where_questions_template_and_grader_agree(changed, comparable):
    found = compare_results(result_of([(1,)]), result_of([(1,)], **changed))
    assert found.comparable is comparable and len(found.differences) == 1


def test_the_command_refuses_what_is_not_comparable(place, command):
    for name, settings in (("a", {}), ("b", {"sampling": {"seed": 1}}), ("c", {"grader": 2})):
        write_result(place / name, result_of([(1, 0), (0, 0)], **settings))
    status, output, _ = command("compare", "a", "b")
    assert status == 0 and "sampling.seed" in output and "paired by question" in output
    assert "Not comparable" not in output
    status, output, _ = command("compare", "a", "c")
    assert status == 1 and "Not comparable: grader must be the same." in output
    status, _, errors = command("compare", "a", "model")
    assert status == 2 and "must hold an evaluation" in errors


def test_shots_make_another_evaluation(place, command):
    arguments = ["eval", "model", "--set", "gsm8k", "--path", "gsm8k.jsonl", *FAST]
    shot = ["--shots", 2, "--shots-path", "gsm8k.jsonl"]
    assert command(*arguments, "--output", "zero")[0] == 0
    status, _, errors = command(*arguments, *shot, "--output", "two")
    assert status == 0, errors
    found = compare(place / "zero", place / "two")
    assert {"questions.fingerprint", "template.shots"} <= set(found.broken)
    assert found.common == 8  # a question is the same one, whatever stands before it


def test_a_result_is_read_back_as_it_was_written(tmp_path):
    result = result_of([(1, math.nan)])
    write_result(tmp_path / "x", dataclasses.replace(result, metrics={"eval/pass@1": math.nan}))
    found = read_result(tmp_path / "x")
    assert math.isnan(found.metrics["eval/pass@1"]) and found.manifest == result.manifest
    assert [row["accuracy"] for row in found.rows] == [1.0, None]


def test_published_numbers_are_shown_with_their_version(command):
    status, output, _ = command("published", "aime_2024", "--model", "r1-zero")
    assert status == 0 and "71.0" in output and "77.9" in output and "v1 table 2" in output
    assert command("published", "--version", "v3")[0] == 2

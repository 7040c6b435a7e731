"""`r1core verify`: a file of completions graded as its user would."""

import json
import sys

import pytest

from r1core import cli
from r1core.rewards import MathPolicy
from r1core.verify_file import grade_file, parse_policy

ROWS = [
    {"completion": "So \\boxed{0.5}", "answer": "1/2"},
    {"completion": "The answer is 7.", "answer": "He has 3 + 5 = 8.\n#### 8"},
    {"completion": "I do not know", "answer": "4"},
    {"completion": "\\boxed{4}", "answer": "\\frac{"},
]


@pytest.fixture
def rows_file(tmp_path):
    def write(rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["r1core", "verify", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code or 0, *capsys.readouterr()


def test_every_row_gets_its_status(rows_file):
    graded = grade_file(rows_file(ROWS))
    statuses = [verdict.status for verdict in graded.verdicts]
    assert statuses == ["correct", "wrong", "no_answer", "unparsed_gold"]
    assert graded.failures == [1, 2, 3]
    assert graded.accuracy == pytest.approx(1 / 3), "a gold that cannot be read judges nobody"


def test_the_command_prints_the_accuracy_and_why_rows_failed(monkeypatch, capsys, rows_file):
    status, output, _ = run(monkeypatch, capsys, rows_file(ROWS))
    assert status == 0
    assert "accuracy 33.3%" in output and "of 4 completions" in output
    for reason in ("another answer", "no answer was found", "the gold cannot be read"):
        assert reason in output
    _, few, _ = run(monkeypatch, capsys, rows_file(ROWS), "--failures", "1")
    assert "and 2 more" in few and "no answer was found" not in few


def test_columns_and_messages_are_found_or_named(rows_file):
    messages = [{"role": "assistant", "content": "\\boxed{3}"}]
    assert grade_file(rows_file([{"response": messages, "ground_truth": 3}])).accuracy == 1
    path = rows_file([{"said": "\\boxed{3}", "truth": "3"}])
    assert grade_file(path, completion="said", gold="truth").accuracy == 1
    with pytest.raises(ValueError, match="--completion must name one of the columns said, truth"):
        grade_file(path)
    with pytest.raises(ValueError, match="row 0 must have a column 'nothing'"):
        grade_file(path, completion="nothing", gold="truth")


def test_letters_of_options_are_graded_with_their_texts(rows_file):
    rows = [
        {"completion": "The answer is (B).", "answer": "B"},
        {"completion": "The answer is Paris.", "answer": "B", "options": ["Rome", "Paris"]},
        {"completion": "The answer is (A).", "answer": "B"},
    ]
    graded = grade_file(rows_file(rows), kind="choice")
    assert [verdict.status == "correct" for verdict in graded.verdicts] == [True, True, False]


def test_a_policy_is_followed(monkeypatch, capsys, rows_file):
    path = rows_file([{"completion": "\\boxed{45\\%}", "answer": "45"}])
    assert "accuracy 100.0%" in run(monkeypatch, capsys, path)[1]
    strict = run(monkeypatch, capsys, path, "--policy", "percent=hundredth")[1]
    assert "accuracy 0.0%" in strict


def test_policies_are_read_from_settings():
    settings = ["precision=2", "units=required", "ordered_lists=true"]
    assert parse_policy(settings) == MathPolicy(precision=2, units="required", ordered_lists=True)
    for setting in ("precision", "places=2"):
        with pytest.raises(ValueError, match="--policy must be KEY=VALUE"):
            parse_policy([setting])


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--policy", "percent=half"], "percent must be one of either, hundredth, ignore"),
        (["--gold", "solution"], "row 0 must have a column 'solution'"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(monkeypatch, capsys, rows_file, arguments, message):
    status, _, errors = run(monkeypatch, capsys, rows_file(ROWS), *arguments)
    assert status == 2 and message in errors and "Traceback" not in errors


def test_a_models_markup_is_shown_and_not_obeyed(monkeypatch, capsys, rows_file):
    row = {"completion": "[bold red]\x1b[31m7", "answer": "[/] 8"}
    status, output, _ = run(monkeypatch, capsys, rows_file([row]))
    assert status == 0 and "[bold red]" in output and "\x1b[31m" not in output

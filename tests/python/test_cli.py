import json
import subprocess
import sys

import pytest

from r1core import cli
from r1core.recipe import load_recipe
from r1core.run_directory import begin_run


def run(monkeypatch, capsys, *arguments):
    """Run the command line in this process; return exit status, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["r1core", *arguments])
    try:
        cli.main()
        status = 0
    except SystemExit as error:
        status = error.code or 0
    return status, *capsys.readouterr()


def test_doctor_says_what_is_built(monkeypatch, capsys):
    status, output, _ = run(monkeypatch, capsys, "doctor")
    assert status == 0
    for word in ("instruction set", "torch", "GPU", "transformers"):
        assert word in output


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["run", "nothing"], "error: no recipe 'nothing'"),
        (["run", "quickstart", "--set", "zero.sampling.n=1"], "sampling.n must be >= 2"),
        (["run", "quickstart", "--set", "zero.stepz=1"], "unknown key zero.stepz"),
        (["run", "gsm8k_zero", "--model", "/nowhere"], "cannot load a causal LM from /nowhere"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_two(
    monkeypatch, capsys, tmp_path, arguments, message
):
    monkeypatch.chdir(tmp_path)
    status, _, errors = run(monkeypatch, capsys, *arguments)
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(lines) == 1 and message in lines[0]
    assert "Traceback" not in errors


def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch):
    for arguments in (["--debug", "run", "nothing"], ["run", "nothing", "--debug"]):
        monkeypatch.setattr(sys, "argv", ["r1core", *arguments])
        with pytest.raises(ValueError, match="no recipe 'nothing'"):
            cli.main()


def test_python_m_r1core_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "r1core", "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("run", "demo", "doctor"))


@pytest.mark.parametrize(
    ("command", "defaults"),
    [
        ("run", ["[runs/<name>]"]),
        ("plan", ["[recipe's]", "[256; of a world 32]"]),
        ("eval", ["chat where the model has one]", "[all]", "[the paper's k, or 4]"]),
        ("eval", ["[32768, at most", "[runs/eval/<model>-<set>"]),
    ],
)
def test_help_says_the_defaults(monkeypatch, capsys, command, defaults):
    monkeypatch.setenv("COLUMNS", "80")
    status, output, _ = run(monkeypatch, capsys, command, "--help")
    assert status == 0
    assert all(default in " ".join(output.split()) for default in defaults)


def test_a_whole_run_on_the_embedded_world(monkeypatch, capsys, tmp_path, shared_cache):
    monkeypatch.chdir(tmp_path)
    status, output, errors = run(
        monkeypatch,
        capsys,
        *["demo", "--set", "zero.steps=2", "--set", "zero.evaluation.questions=16"],
    )
    assert status == 0, errors
    directory = tmp_path / "runs" / "quickstart"
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "reward" in line] == [1, 2]
    assert [line["step"] for line in lines if "eval/pass@1" in line] == [0, 2]
    assert (directory / "report.md").is_file() and list(directory.glob("*.png"))
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["versions"]["torch"] and manifest["data"]["zero"]
    assert "before training" in output and "after 2 steps" in output


def test_a_demo_replaces_nothing_but_a_finished_run_of_itself(monkeypatch, capsys, tmp_path):
    replaced = []
    monkeypatch.setattr(
        "r1core.pipeline.run_recipe", lambda *_, overwrite, only: replaced.append(overwrite)
    )
    demo = ["demo", "--output", str(tmp_path / "run")]
    run_of(load_recipe("gsm8k_zero"), tmp_path / "run")
    status, _, errors = run(monkeypatch, capsys, *demo)
    assert status == 2 and "holds a run of another recipe" in errors
    assert run(monkeypatch, capsys, *demo, "--overwrite")[0] == 0 and replaced == [True]
    run_of(load_recipe("quickstart", ["seed=0"]), tmp_path / "run")
    assert run(monkeypatch, capsys, *demo)[0] == 0 and replaced == [True, False]
    (tmp_path / "run" / "stages" / "zero").mkdir(parents=True)
    assert run(monkeypatch, capsys, *demo)[0] == 0 and replaced == [True, False, True]
    status, _, errors = run(monkeypatch, capsys, *demo, "--seed", "1")
    assert status == 2 and "seed is 0 there and 1 here" in errors


def run_of(recipe, directory):
    """Write a run that has taken a step."""
    directory.mkdir(exist_ok=True)
    begin_run(directory, recipe, {})
    (directory / "metrics.jsonl").write_text('{"stage": "zero", "step": 1}\n')

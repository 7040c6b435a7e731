import json
import subprocess
import sys

import pytest

from r1core import cli


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

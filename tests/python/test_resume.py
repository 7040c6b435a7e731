"""A run killed at any moment goes on bit for bit: real processes, real SIGKILL (DESIGN 7)."""

import json
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from models import qwen2_policy

from r1core.checkpoint import CheckpointError, Checkpoints, load_state
from r1core.lora import has_lora
from r1core.pipeline import run_recipe
from r1core.policy import Policy
from r1core.recipe import RecipeError, load_recipe
from r1core.run_directory import locked
from r1core.stages.optimizer import optimizer_step
from r1core.tracking import list_tables, read_metrics, read_table

KILLED_RUN = Path(__file__).with_name("killed_run.py")

# Everything that a checkpoint must hold: batches of four updates, a reference that is refreshed
# between checkpoints, dynamic sampling, a limit that rises, rewards that draw random numbers.
RECIPE = """
name = "resumed"
seed = 3
[model]
path = "{folder}/model"
[[stage]]
name = "zero"
kind = "reasoning_rl"
from = "base"
data = {{ path = "{folder}/questions", prompt = "question" }}
rewards = [{{ name = "noisy_rewards:noisy" }}]
steps = 10
questions_per_step = 2
minibatches = 2
num_iterations = 2
dynamic_sampling_rounds = 2
length_schedule = [{{ step = 6, max_new_tokens = 10 }}]
reference_every = 4
sampling = {{ n = 4, max_new_tokens = 6 }}
loss = {{ beta = 0.02, epsilon = 0.2 }}
optimizer = {{ lr = 3e-3, schedule = "cosine", warmup_steps = 2 }}
evaluation = {{ every = 4, questions = 2, samples = 2 }}
checkpoint = {{ every = 3, keep = 2 }}
[[stage]]
name = "more"
kind = "reasoning_rl"
from = "zero"
data = {{ path = "{folder}/questions", prompt = "question" }}
rewards = [{{ name = "noisy_rewards:noisy" }}]
steps = 2
questions_per_step = 2
sampling = {{ n = 4, max_new_tokens = 6 }}
evaluation = {{ every = 4, questions = 2, samples = 2 }}
checkpoint = {{ every = 3 }}
"""
REWARDS = """
import random
import numpy
import torch

def noisy(completions, **columns):
    noise = [random.random() + numpy.random.rand() + float(torch.rand(())) for _ in completions]
    return [-len(c) + x for c, x in zip(completions, noise)]
"""
CLOCK = re.compile(r"time|per_second|timing")  # "runtime", too


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model, questions, a user's rewards and the recipe that uses them."""
    folder = tmp_path_factory.mktemp("resume")
    qwen2_policy(max_position_embeddings=512).save_pretrained(folder / "model")
    (folder / "questions").mkdir()
    rows = [{"question": f"What is {a} + 4?", "answer": f"#### {a + 4}"} for a in range(7)]
    for split in ("train", "test"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "questions" / f"{split}.jsonl").write_text(text)
    (folder / "noisy_rewards.py").write_text(REWARDS)
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def whole(home):
    """The run that nothing interrupted."""
    return go_on(home, home / "whole")


def go_on(home, directory, recipe="recipe.toml"):
    run_recipe(load_recipe(home / recipe), directory)
    return directory


def environment(home):
    paths = [str(home), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def kill_run(home, directory, where, call, recipe="recipe.toml"):
    arguments = [sys.executable, str(KILLED_RUN), where, str(call)]
    arguments += [str(home / recipe), str(directory)]
    done = subprocess.run(arguments, env=environment(home), capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def without_clocks(directory):
    return [
        {name: value for name, value in line.items() if not CLOCK.search(name)}
        for line in json.loads(json.dumps(read_metrics(directory)).replace("NaN", "null"))
    ]


def assert_same_run(directory, whole):
    assert without_clocks(directory) == without_clocks(whole)
    for stage in [path.name for path in (whole / "stages").iterdir()]:
        weights = Path("stages") / stage / "model.safetensors"
        assert (directory / weights).read_bytes() == (whole / weights).read_bytes()
    for kind in ("completions", "eval"):
        tables, expected = list_tables(directory, kind), list_tables(whole, kind)
        assert {s: list(t) for s, t in tables.items()} == {s: list(t) for s, t in expected.items()}
        for stage, steps in expected.items():
            for step, path in steps.items():
                assert str(read_table(tables[stage][step])) == str(read_table(path))
    leftovers = [p.name for p in directory.rglob(".*") if p.name != ".lock"]
    assert leftovers == []


KILL_POINTS = {
    "before the run has a recipe": ("r1core.run_directory:write_atomic", 2),
    "in the first evaluation": ("r1core.rl_run:evaluate", 1),
    "before the first checkpoint": ("r1core.stages.training_state:optimizer_step", 2),
    "writing the first checkpoint": ("r1core.checkpoint:torch.save", 1),
    "mid-buffer, after a checkpoint": ("r1core.stages.training_state:optimizer_step", 4),
    "between reference refreshes": ("r1core.stages.training_state:optimizer_step", 8),
    "sampling": ("r1core.stages.draw:sample_groups", 3),
    "scoring": ("noisy_rewards:random.random", 60),
    "in an evaluation": ("r1core.rl_run:evaluate", 2),
    "between metrics and completions": ("r1core.tracking:RunWriter.log_completions", 5),
    "weights written, state not": ("r1core.checkpoint:torch.save", 2),
    "written, not synced": ("r1core.checkpoint:sync", 12),
    "before the rename": ("r1core.checkpoint:os.replace", 2),
    "dropping an old checkpoint": ("r1core.checkpoint:shutil.rmtree", 6),
    "after the last step": ("r1core.stage_run:whole_directory", 1),
    "between stages": ("r1core.pipeline:RLRun", 2),
    "in the second stage": ("r1core.stages.training_state:optimizer_step", 12),
    "writing the report": ("r1core.pipeline:write_report", 1),
}


@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_killed_run_goes_on_bit_for_bit(home, whole, tmp_path, point):
    kill_run(home, tmp_path / "run", *KILL_POINTS[point])
    go_on(home, tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)


MODELS = {
    "an adapter": "lora = { r = 4 }\ngradient_checkpointing = true",
    "bfloat16 with masters": 'dtype = "bfloat16"',
    "an adapter on bfloat16": 'dtype = "bfloat16"\nlora = { r = 4 }',
}


@pytest.mark.parametrize("name", MODELS)
def test_a_killed_run_of_another_model_goes_on_bit_for_bit(home, tmp_path, name):
    text = RECIPE.format(folder=home).replace("[model]", f"[model]\n{MODELS[name]}")
    (tmp_path / "recipe.toml").write_text(text)
    expected = go_on(tmp_path, tmp_path / "whole")
    point = ("r1core.stages.training_state:optimizer_step", 8)
    process_home = shutil.copytree(home, tmp_path / "home", ignore=shutil.ignore_patterns("w*"))
    shutil.copy(tmp_path / "recipe.toml", process_home)
    kill_run(process_home, tmp_path / "run", *point)
    go_on(tmp_path, tmp_path / "run")
    assert_same_run(tmp_path / "run", expected)
    written = Policy.from_pretrained(expected / "stages" / "zero")  # merged: an ordinary model
    assert type(written.model).__name__ == "Qwen2ForCausalLM" and not has_lora(written)


def test_weights_that_an_update_broke_are_never_a_checkpoint(home, tmp_path, capsys, monkeypatch):
    calls = iter(range(1, 100))

    def breaking(optimizer, *arguments):
        norm = optimizer_step(optimizer, *arguments)
        if next(calls) == 5:
            with torch.no_grad():
                optimizer.param_groups[0]["params"][0].fill_(torch.nan)
        return norm

    stage = sys.modules["r1core.stages.training_state"]
    monkeypatch.setattr(stage, "optimizer_step", breaking)
    with pytest.raises(FloatingPointError):
        go_on(home, tmp_path / "run")
    assert "1 parameters are not finite" in " ".join(capsys.readouterr().out.split())
    assert [path.name for path in checkpoint_paths(tmp_path / "run")] == ["zero-step-00003"]


def start(home, directory, *arguments):
    command = [sys.executable, "-m", "r1core", "run", str(home / "recipe.toml")]
    return subprocess.Popen(
        [*command, "--output", str(directory), *arguments],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a background
    )


def wait_for_lines(process, directory, count):
    deadline = time.monotonic() + 120
    metrics = directory / "metrics.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.is_file() and metrics.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    pytest.fail(process.communicate()[0])


def test_the_same_command_survives_several_kills(home, whole, tmp_path):
    for lines in (3, 6, 9):
        process = start(home, tmp_path / "run")
        wait_for_lines(process, tmp_path / "run", lines)
        process.kill()
        process.communicate()
    process = start(home, tmp_path / "run")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize("number,status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_polite_signal_stops_after_the_step_with_a_checkpoint(
    home, whole, tmp_path, number, status
):
    process = start(home, tmp_path / "run")
    wait_for_lines(process, tmp_path / "run", 3)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == status, output
    assert "Stopping after this step" in output and "the same command goes on" in output
    steps = [line["step"] for line in read_metrics(tmp_path / "run")]
    saved = Checkpoints(tmp_path / "run" / "checkpoints", "zero").latest()
    assert saved.step == steps[-1]  # nothing that was done is done again
    Policy.from_pretrained(saved.path)
    assert (tmp_path / "run" / "report.md").is_file()
    go_on(home, tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)


def test_a_failing_reward_loses_no_step(home, whole, tmp_path, monkeypatch):
    import noisy_rewards

    true_reward, calls = noisy_rewards.noisy, iter(range(1000))

    def failing(completions, **columns):
        scores = true_reward(completions, **columns)
        if next(calls) == 7:
            raise OSError("the judge's server is down")
        return scores

    monkeypatch.setattr(noisy_rewards, "noisy", failing)
    with pytest.raises(Exception, match="judge's server is down"):
        go_on(home, tmp_path / "run")
    last = read_metrics(tmp_path / "run")[-1]["step"]
    saved = Checkpoints(tmp_path / "run" / "checkpoints", "zero").latest()
    assert last > 0 and saved.step == last
    monkeypatch.undo()
    go_on(home, tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)


@pytest.fixture(scope="module")
def stopped_once(home):
    kill_run(home, home / "stopped", "r1core.stages.training_state:optimizer_step", 9)
    return home / "stopped"


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A run killed after its second checkpoint."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def checkpoint_paths(directory):
    return [c.path for c in Checkpoints(directory / "checkpoints", "zero").found()]


@pytest.mark.parametrize("name", ["state.pt", "model.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "removed"])
def test_a_damaged_checkpoint_is_said_and_passed_over(home, whole, stopped, caplog, name, damage):
    file = checkpoint_paths(stopped)[-1] / name
    content = file.read_bytes()
    if damage == "removed":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    with caplog.at_level(logging.WARNING):
        go_on(home, stopped)
    assert re.search(rf"zero-step-00006 is damaged: {name}.*going on from.*00003", caplog.text)
    assert_same_run(stopped, whole)


def test_damaged_checkpoints_alone_stop_the_run(home, stopped):
    for path in checkpoint_paths(stopped):
        (path / "state.pt").write_bytes(b"")
    before = sorted(stopped.rglob("*"))
    with pytest.raises(CheckpointError, match=r"state.pt is not as it was written \(0 bytes\)"):
        go_on(home, stopped)
    assert sorted(stopped.rglob("*")) == before


def test_a_full_disk_is_said_and_costs_no_checkpoint(home, whole, stopped):
    """A limit on the size of files stands for a full disk: the same failure of write()."""
    weights = (checkpoint_paths(stopped)[-1] / "model.safetensors").stat().st_size
    command = [sys.executable, "-m", "r1core", "run", str(home / "recipe.toml")]
    full = subprocess.run(
        [*command, "--output", str(stopped)],
        env=environment(home),
        capture_output=True,
        text=True,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (weights + 4096, weights + 4096)),
        ),
    )
    assert full.returncode == 2, full.stdout + full.stderr
    message = " ".join(full.stderr.split())
    assert "cannot write checkpoint" in message and "zero-step-00009" in message
    assert "goes on from" in message and "zero-step-00006" in message, message
    assert [path.name[-1] for path in checkpoint_paths(stopped)] == ["3", "6"]
    go_on(home, stopped)
    assert_same_run(stopped, whole)


def test_two_processes_never_share_a_run(home, tmp_path):
    with locked(tmp_path / "run"), pytest.raises(RecipeError, match="in use by another process"):
        go_on(home, tmp_path / "run")


def test_another_recipe_or_other_data_is_refused(home, stopped, whole):
    other = load_recipe(home / "recipe.toml", ["zero.optimizer.lr=1e-5"])
    with pytest.raises(RecipeError, match=r"stage.zero.optimizer.lr is 0.003 there and 1e-05 here"):
        run_recipe(other, stopped)
    train = home / "questions" / "train.jsonl"
    text = train.read_text()
    try:
        train.write_text(text + '{"question": "one more", "answer": "1"}\n')
        with pytest.raises(RecipeError, match="stage 'zero': its data is not what the run"):
            go_on(home, stopped)
    finally:
        train.write_text(text)
    saved_oftener = load_recipe(home / "recipe.toml", ["zero.checkpoint.every=2"])
    run_recipe(saved_oftener, stopped)
    assert_same_run(stopped, whole)


def test_a_finished_run_is_left_as_it_is(home, whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "run")
    go_on(home, tmp_path / "run")
    assert "is finished" in " ".join(capsys.readouterr().out.split())
    assert_same_run(tmp_path / "run", whole)


def test_the_latest_and_the_best_checkpoints_are_kept(tmp_path):
    checkpoints, policy = Checkpoints(tmp_path, "zero", keep=1), qwen2_policy()
    for step, score in enumerate([0.1, 0.9, None, 0.9, 0.3], start=1):
        checkpoints.save(step, policy, {"step": step}, score)
    assert [checkpoint.step for checkpoint in checkpoints.found()] == [2, 5]
    assert (tmp_path / "zero-best").resolve().name == "zero-step-00002"
    assert load_state(checkpoints.latest().path) == {"step": 5}

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
from models import qwen2_policy

from r1core.checkpoint import CheckpointError, Checkpoints
from r1core.pipeline import run_recipe
from r1core.policy import Policy
from r1core.recipe import RecipeError, load_recipe
from r1core.run_directory import locked
from r1core.tracking import list_tables, read_metrics, read_table

KILLED_RUN = Path(__file__).with_name("killed_run.py")

# Everything that a checkpoint must hold: batches of four updates, a reference that is refreshed in
# the middle of one, dynamic sampling, a limit that rises, rewards that draw random numbers.
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
reference_every = 3
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
CLOCK = re.compile(r"time|per_second|timing")


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


def go_on(home, directory):
    run_recipe(load_recipe(home / "recipe.toml"), directory)
    return directory


def environment(home):
    paths = [str(home), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def kill_run(home, directory, where, call):
    arguments = [sys.executable, str(KILLED_RUN), where, str(call)]
    arguments += [str(home / "recipe.toml"), str(directory)]
    done = subprocess.run(arguments, env=environment(home), capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def without_clocks(directory):
    return [
        {name: value for name, value in line.items() if not CLOCK.search(name)}
        for line in json.loads(json.dumps(read_metrics(directory)).replace("NaN", "null"))
    ]


def assert_same_run(directory, whole):
    assert without_clocks(directory) == without_clocks(whole)
    for stage in ("zero", "more"):
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
    "in the first evaluation": ("r1core.stage_run:evaluate", 1),
    "before the first checkpoint": ("r1core.stages.reasoning_rl:optimizer_step", 2),
    "writing the first checkpoint": ("r1core.checkpoint:torch.save", 1),
    "mid-buffer, after a checkpoint": ("r1core.stages.reasoning_rl:optimizer_step", 4),
    "between reference refreshes": ("r1core.stages.reasoning_rl:optimizer_step", 8),
    "sampling": ("r1core.stages.draw:sample_groups", 3),
    "scoring": ("noisy_rewards:random.random", 60),
    "in an evaluation": ("r1core.stage_run:evaluate", 2),
    "between metrics and completions": ("r1core.tracking:RunWriter.log_completions", 5),
    "weights written, state not": ("r1core.checkpoint:torch.save", 2),
    "written, not synced": ("r1core.checkpoint:sync", 12),
    "before the rename": ("r1core.checkpoint:os.replace", 2),
    "dropping an old checkpoint": ("r1core.checkpoint:shutil.rmtree", 6),
    "after the last step": ("r1core.stage_run:whole_directory", 1),
    "between stages": ("r1core.pipeline:StageRun", 2),
    "in the second stage": ("r1core.stages.reasoning_rl:optimizer_step", 12),
    "writing the report": ("r1core.pipeline:write_report", 1),
}


@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_killed_run_goes_on_bit_for_bit(home, whole, tmp_path, point):
    kill_run(home, tmp_path / "run", *KILL_POINTS[point])
    go_on(home, tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)

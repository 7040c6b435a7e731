"""The README's Python runs as it stands, its commands exist, and the recipe of the docs loads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from r1core import cli
from r1core.recipe import load_recipe

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language, page="README.md"):
    return [body for kind, body in BLOCK.findall((ROOT / page).read_text()) if kind == language]


@pytest.mark.parametrize("source", blocks("python"))
def test_a_python_block_runs(source, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def commands():
    lines = "".join(blocks("sh") + blocks("bash")).splitlines()
    return [line.partition("#")[0].split() for line in lines]


def test_every_r1core_command_and_option_exists():
    known = typer.main.get_command(cli.app).commands
    mentioned = [words for words in commands() if words and words[0] == "r1core"]
    assert mentioned
    for words in mentioned:
        options = {name for parameter in known[words[1]].params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {words[1] for words in commands() if words and words[0] == "make"} <= targets


def test_the_recipe_of_the_docs_loads(tmp_path):
    (whole,) = [x for x in blocks("toml", "docs/recipes.md") if x.startswith("name =")]
    (tmp_path / "mine.toml").write_text(whole)
    recipe = load_recipe(tmp_path / "mine.toml")
    assert recipe.name == "mine" and recipe.comparison and recipe.benchmark and recipe.models

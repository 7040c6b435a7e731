"""What `import r1core` brings, and what it leaves for later."""

import subprocess
import sys

import pytest

import r1core


def imported(code):
    """The modules there after a fresh interpreter ran the code."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


@pytest.mark.parametrize("code", ["import r1core", "import r1core.cli", "from r1core import kl"])
def test_transformers_is_left_for_who_needs_a_model(code):
    modules = imported(code)
    assert "r1core" in modules and "transformers" not in modules


def test_a_star_import_brings_everything():
    wanted = ", ".join(r1core.__all__)
    assert "transformers" in imported(f"from r1core import *\n({wanted})\nstages.reasoning_rl")


def test_what_shares_its_modules_name_is_the_function():
    assert imported("import r1core, r1core.stages\nassert callable(r1core.grpo_loss)")


def test_all_is_listed_and_found():
    for name in r1core.__all__:
        assert name in dir(r1core) and getattr(r1core, name) is not None
    with pytest.raises(AttributeError, match="'r1core' has no attribute 'Polcy'"):
        r1core.Polcy  # noqa: B018

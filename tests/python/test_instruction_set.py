"""R1CORE_ISA chooses the kernels' instruction set for a whole process."""

import os
import subprocess
import sys

import pytest

from r1core import _C

LEVELS = ("portable", "avx2", "avx512")


def run(level):
    return subprocess.run(
        [sys.executable, "-c", "from r1core import _C; print(_C.isa())"],
        env=os.environ | {"R1CORE_ISA": level},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("level", LEVELS[: LEVELS.index(_C.best_isa()) + 1])
def test_the_environment_chooses_a_level(level):
    assert run(level).stdout.strip() == level


def test_an_unknown_level_is_an_error_that_names_the_variable():
    result = run("avx10")
    assert result.returncode != 0
    assert "R1CORE_ISA must be portable, avx2 or avx512; got avx10" in result.stderr

"""Runs a recipe and sends itself SIGKILL at a chosen call: no handler, no cleanup, no flush.

python killed_run.py WHERE CALL RECIPE DIRECTORY; WHERE is `module:name`, CALL counts from 1.
"""

import functools
import os
import signal
import sys
from pathlib import Path


def kill_at(where: str, call: int) -> None:
    """Have the process killed just before the given call of a function."""
    import importlib

    module, _, path = where.partition(":")
    *owners, name = path.split(".")
    owner = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), iter(range(1, sys.maxsize))

    @functools.wraps(function)
    def counted(*args, **kwargs):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(owner, name, counted)


if __name__ == "__main__":
    from r1core.pipeline import run_recipe
    from r1core.recipe import load_recipe

    where, call, recipe, directory = sys.argv[1:]
    kill_at(where, int(call))
    run_recipe(load_recipe(recipe), Path(directory))

"""Worker processes: light, reused, replaced one by one, and gone with what they work for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import isolated_rewards as user
import pytest
from test_isolate import isolated, lost, scores

import r1core
from r1core.rewards import close_workers
from r1core.rewards.isolate import _POOLS


@pytest.fixture(scope="module", autouse=True)
def _no_workers_left():
    yield
    close_workers()


def worker_pids():
    return {w.process.pid for pool in _POOLS.values() for w in pool._workers}


def running(pid):
    """Tell whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_a_worker_imports_neither_torch_nor_r1core():
    assert scores(isolated(["a"], user.has_torch)) == [0]


def test_workers_of_a_pool_have_one_thread_each(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    close_workers()
    assert scores(isolated(["a", "b"], user.thread_environment)) == [1, 1]


def test_workers_are_kept_between_steps_and_replaced_one_by_one():
    close_workers()
    first = isolated(["a"] * 8, user.does_what_it_reads)
    before = worker_pids()
    assert len(before) == 2 and first.crashes == {"does_what_it_reads": 0}
    isolated(["a"] * 8, user.does_what_it_reads)
    assert worker_pids() == before
    isolated(["a"] * 4 + ["exit"] + ["a"] * 4, user.does_what_it_reads)
    assert len(worker_pids() & before) == 1
    os.kill(next(iter(worker_pids())), signal.SIGKILL)  # between two steps, as the OOM killer may
    time.sleep(0.1)
    assert lost(isolated(["a"] * 4, user.does_what_it_reads)) == (0, 0)
    pids = worker_pids()
    close_workers()
    assert not any(running(pid) for pid in pids) and not worker_pids()


@pytest.mark.parametrize("order", ["spawn and hang", "spawn and crash"])
def test_what_a_call_has_started_ends_with_it(order):
    table = isolated([order], user.does_what_it_reads, timeout_seconds=0.4)
    assert sum(lost(table)) == 1
    sleeping = ["pgrep", "-f", "^sleep 301.5$"]
    assert wait_until(lambda: subprocess.run(sleeping, capture_output=True).returncode == 1)


PARENT = """
import os, signal, sys, threading, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
for name in ("r1core", "r1core.rewards"):  # without their __init__, which takes torch seconds
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [os.path.join({source!r}, *name.split("."))]
sys.modules["r1core"]._C = None
sys.path.insert(0, {tests!r})
import isolated_rewards as user
from r1core.rewards.isolate import _POOLS, run_isolated
from r1core.rewards.spec import RewardSpec
def run(function, texts):
    spec = RewardSpec(function, "f", isolate="row", timeout_seconds=300, workers=2)
    return run_isolated(spec, dict(completions=texts))
run(user.does_what_it_reads, ["a", "b"])
print(*[w.process.pid for pool in _POOLS.values() for w in pool._workers], flush=True)
{then}
"""


def start_parent(then):
    tests, source = os.path.dirname(__file__), str(Path(r1core.__file__).parents[1])
    code = PARENT.format(tests=tests, source=source, then=then)
    pipe = subprocess.PIPE
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2 and all(running(pid) for pid in pids)
    return parent, pids


HANGS = "run(user.does_what_it_reads, ['hang', 'backtrack'])"


def test_a_pool_is_whole_again_after_one_worker_hung_and_another_could_not_start(
    tmp_path, monkeypatch
):
    gate = tmp_path / "gate"
    code = f"import os, time\nif os.path.exists({str(gate)!r}): os._exit(5)\n"
    code += "def f(completions):\n    for c in completions:\n        if c == 'bad':\n"
    code += f"            open({str(gate)!r}, 'w').close()\n            os._exit(1)\n"
    (tmp_path / "gated.py").write_text(code + "    return [1.0]\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match=r"ended \(exit status 5\) while importing 'gated:f'"):
        isolated(["bad", "a", "a"], "gated:f", workers=1)
    gate.unlink()
    assert scores(isolated(["a", "a"], "gated:f", workers=1)) == [1, 1]


def test_no_worker_outlives_a_parent_that_is_killed():
    parent, pids = start_parent(HANGS)
    time.sleep(0.3)  # the workers are at it, one of them in C
    parent.kill()
    parent.communicate()
    assert wait_until(lambda: not any(running(pid) for pid in pids))


def test_ctrl_c_ends_the_call_the_workers_and_prints_one_traceback():
    parent, pids = start_parent(HANGS)
    time.sleep(0.3)
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
    _, errors = parent.communicate(timeout=10)
    assert not any(running(pid) for pid in pids)
    assert errors.count("Traceback") == 1 and errors.rstrip().endswith("KeyboardInterrupt")


def test_workers_outlive_the_thread_that_started_them_and_end_with_the_interpreter():
    code = """
thread = threading.Thread(target=run, args=(user.length, ["a"]))
thread.start(), thread.join(), time.sleep(0.2)
print(run(user.length, ["a"]), flush=True)
"""
    parent, pids = start_parent(code)
    printed, errors = parent.communicate(timeout=10)
    assert (
        printed == "Isolated(scores=[1.0], timeouts=0, crashes=0)\n"
        and errors == ""
        and parent.returncode == 0
    )
    assert not any(running(pid) for pid in pids)

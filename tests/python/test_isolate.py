"""Isolated rewards: only the offender is lost, and no worker outlives its parent."""

import functools
import math
import os
import random
import sys
import time

import isolated_rewards as user
import pytest
from test_score_rollouts import length as length_here
from test_score_rollouts import rollouts

from r1core.rewards import RewardSpec, close_workers, score_rollouts


@pytest.fixture(scope="module", autouse=True)
def _no_workers_left():
    yield
    close_workers()


def isolated(texts, function, columns=None, **settings):
    settings = {"isolate": "row", "timeout_seconds": 5, "workers": 2} | settings
    if settings["isolate"] == "batch":
        del settings["workers"]
    spec = RewardSpec.resolve(function, **settings)
    return score_rollouts(rollouts(texts), [spec], columns or {})


def scores(table):
    [scores_N] = table.scores.values()
    return [None if math.isnan(score) else score for score in scores_N.tolist()]


def lost(table):
    return sum(table.timeouts.values()), sum(table.crashes.values())


@pytest.mark.parametrize("isolate", ["row", "batch"])
@pytest.mark.parametrize("function", [user.length, "isolated_rewards:length", user.waits])
def test_scores_are_those_of_the_same_function_in_process(isolate, function):
    texts = ["a" * n for n in range(17)]
    table = isolated(texts, function, {"level": [3]}, isolate=isolate)
    assert scores(table) == scores(score_rollouts(rollouts(texts), [length_here]))
    assert lost(table) == (0, 0)


def test_a_batch_is_one_call_and_a_row_is_a_list_of_one():
    assert scores(isolated(["a", "b", "c"], user.rows, isolate="batch")) == [3, 3, 3]
    assert scores(isolated(["a", "b", "c"], user.rows)) == [1, 1, 1]


@pytest.mark.parametrize("order", [user.HANG, "sleep", "backtrack", "power"])
def test_a_row_that_hangs_is_lost_alone_and_on_time(order):
    texts = ["a", order, "bbb", "cccc", "d", "ee"]
    started = time.monotonic()
    table = isolated(texts, user.does_what_it_reads, timeout_seconds=0.4)
    assert scores(table) == [1, None, 3, 4, 1, 2]
    assert lost(table) == (1, 0)
    assert 0.4 <= time.monotonic() - started < 5


def test_waiting_for_a_worker_does_not_count():
    table = isolated(["a"] * 4, user.slow, {"seconds": [0.3]}, timeout_seconds=1, workers=1)
    assert lost(table) == (0, 0) and scores(table) == [1] * 4  # 1.2 s in all


@pytest.mark.parametrize("order", ["exit", "sys.exit", "segfault", "kill", "memory"])
def test_a_row_that_crashes_its_worker_is_lost_alone(order):
    table = isolated(["a", order, "bbb"], user.does_what_it_reads)
    assert scores(table) == [1, None, 3]
    assert lost(table) == (0, 1)


@pytest.mark.parametrize("order", ["forge", "flood", "nested"])
def test_a_forged_reply_is_never_unpickled_and_counts_as_a_crash(order):
    table = isolated(["a", order, "bbb"], user.does_what_it_reads)
    assert scores(table) == [1, None, 3]
    assert lost(table) == (0, 1)


def test_a_batch_that_hangs_or_crashes_is_lost_as_a_whole():
    slow = isolated(["a", "sleep"], user.does_what_it_reads, isolate="batch", timeout_seconds=0.3)
    assert scores(slow) == [None, None] and lost(slow) == (1, 0)
    gone = isolated(["a", "exit"], user.does_what_it_reads, isolate="batch")
    assert scores(gone) == [None, None] and lost(gone) == (0, 1)
    assert scores(isolated(["a"], user.does_what_it_reads, isolate="batch")) == [1]


def test_an_error_is_the_callers_with_the_workers_traceback():
    with pytest.raises(RuntimeError, match=r"reward 'raises' raised KeyError: 'oops'") as caught:
        isolated(["a", "bad", "c"], user.raises)
    assert 'raise KeyError("oops")' in str(caught.value.__cause__)
    with pytest.raises(ValueError, match=r"reward 'raises' raised ValueError: no such answer"):
        isolated(["a", "worse", "bad"], user.raises)  # the first row's, whichever is first done
    assert scores(isolated(["a"], user.raises)) == [1]


@pytest.mark.parametrize(
    "text, message",
    [
        ("nothing", r"'returns' must return a list of 1 numbers, .*got None: is a return"),
        ("number", r"'returns' must return a list of 1 numbers, each .* None; got float"),
        ("text", r"'returns' must return a list of 1 numbers, each .* None; got str"),
        ("short", r"'returns' must return one score per completion, 1; got 0"),
        ("word", r"'returns' must return finite numbers or None; got 'good' at row 1"),
        ("inf", r"'returns' must return finite numbers or None; got inf at row 1"),
        ("huge", r"'returns' must return finite numbers or None; got 1000"),
    ],
)
def test_a_broken_contract_is_named_as_in_process(text, message):
    with pytest.raises(ValueError, match=message):
        isolated(["tuple", text], user.returns)
    with pytest.raises(ValueError, match=message.removesuffix(" at row 1")):
        score_rollouts(rollouts([text]), [user.returns])


def test_all_kinds_of_numbers_are_scores():
    assert scores(isolated(["nan", "none", "tuple", "bool"], user.returns)) == [None, None, 2, 1]
    for function in (user.arrays, user.scalars):
        assert scores(isolated(["a", "bb"], function, isolate="batch")) == [1, 2]


def test_prints_of_a_function_do_not_reach_the_protocol(capfd):
    assert scores(isolated(["a", "bb"], user.noisy, isolate="batch")) == [1, 2]
    printed = capfd.readouterr()
    assert printed.out == "noise\nmore noise\n" and printed.err == "and more\n"


def test_random_numbers_depend_on_the_row_and_not_on_the_worker():
    drawn = []
    for workers in (1, 2):
        random.seed(1)
        drawn.append(scores(isolated(["a"] * 8, user.draws, workers=workers)))
    assert drawn[0] == drawn[1] and len(set(drawn[0])) == 8


def closure():
    def inner(completions):
        return [0.0] * len(completions)

    return inner


@pytest.mark.parametrize(
    "function",
    [closure(), lambda completions: [0.0], functools.partial(closure()), user.scorer],
    ids=["closure", "lambda", "partial", "object"],
)
def test_what_a_worker_cannot_import_is_refused(function):
    with pytest.raises(ValueError, match=r"RewardSpec: isolate needs a function at the top of a"):
        RewardSpec.resolve(function, isolate="row")


def test_a_function_of_a_notebook_is_refused():
    cell = {"__name__": "__main__"}
    exec("def f(completions): pass", cell)
    with pytest.raises(ValueError, match=r"one of __main__ or a notebook; got '__main__:f'. Move"):
        RewardSpec.resolve(cell["f"], isolate="row")


def test_methods_and_partials_of_importable_functions_work():
    assert scores(isolated(["a"], user.Scorer.half)) == [0.5]
    doubled = functools.partial(user.scaled, factor=2.0)
    assert scores(isolated(["abc"], doubled, {"factor": [5]})) == [6]
    assert scores(isolated(["abc"], "isolated_rewards:scaled", factor=3.0)) == [9]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"isolate": "rows"}, r"isolate must be 'batch' or 'row'; got 'rows'"),
        ({"timeout_seconds": 0}, r"timeout_seconds must be > 0; got 0"),
        ({"timeout_seconds": math.nan}, r"timeout_seconds must be > 0; got nan"),
        ({"workers": 2}, r"workers must be >= 1, and goes with isolate = 'row'"),
        ({"isolate": "row", "workers": 0}, r"workers must be >= 1.*got 0"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        RewardSpec.resolve(user.length, **settings)


def test_built_in_rewards_are_not_isolated():
    with pytest.raises(ValueError, match=r"isolate must be left out for r1core's own .*'accuracy"):
        RewardSpec.resolve("accuracy", isolate="row")


def test_isolated_functions_get_plain_data():
    assert scores(isolated(["a"], user.takes_anything, {"level": [1]})) == [3]
    with pytest.raises(ValueError, match=r"'wants_log' needs 'log_metric', which no isolated"):
        isolated(["a"], user.wants_log)
    with pytest.raises(ValueError, match=r"'takes_anything' is isolated, so its argument 'lock'"):
        isolated(["a"], user.takes_anything, {"lock": [closure()]})


@pytest.mark.parametrize(
    "body, message",
    [
        (
            "raise ImportError('no such thing')",
            r"cannot be imported from 'fickle:f' .*no such thing",
        ),
        ("import os; os._exit(4)", r"ended \(exit status 4\) while importing 'fickle:f'"),
        ("import os; os.kill(os.getpid(), 11)", r"ended \(signal SIGSEGV\) while importing"),
    ],
)
def test_a_module_that_only_the_parent_can_import_is_an_error_at_once(
    tmp_path, monkeypatch, body, message
):
    code = f"import os\nif os.getpid() != {os.getpid()}:\n    {body}\ndef f(completions): pass\n"
    (tmp_path / "fickle.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fickle", raising=False)
    with pytest.raises(RuntimeError, match=message):
        isolated(["a"], "fickle:f")

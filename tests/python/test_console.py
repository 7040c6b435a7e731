import io
import math
import re

import pytest
from rich.console import Console

from r1core import progress, progress_views
from r1core.console import (
    StageProgress,
    print_completions,
    print_evaluation,
    print_summary,
    progress_callback,
)
from r1core.progress import TimeLeft
from r1core.readable import clock_text, short_number, shorten, visible

METRICS = {
    "reward": 1.5,
    "rewards/accuracy/mean": 0.7,
    "completions/mean_length": 22.3,
    "tokens_per_second": 8123.0,
}


@pytest.fixture
def log():
    """A console that writes to no terminal, as in a CI log."""
    return Console(file=io.StringIO(), width=80)


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), width=80, force_terminal=True, color_system="truecolor")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [1000.0]
    for module in (progress, progress_views):
        monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def lines(console):
    return console.file.getvalue().splitlines()


def test_stage_progress_logs_the_first_the_last_and_every_tenth_step(log, clock):
    with StageProgress("zero", 25, log) as shown:
        for step in range(1, 26):
            shown.update(step, METRICS)
    assert [line.split(":")[0] for line in lines(log)] == [
        "zero 1/25",
        "zero 11/25",
        "zero 21/25",
        "zero 25/25",
    ]


def test_stage_progress_shows_reward_accuracy_length_speed_and_time_left(log, clock):
    with StageProgress("zero", 60, log) as shown:
        clock[0] += 2.0
        shown.update(1, METRICS, lr=3e-4)
    assert lines(log) == [
        "zero 1/60: reward 1.50 · accuracy 0.70 · length 22 · 8.1k tok/s · lr 0.0003 · 1:58 left"
    ]


def test_stage_progress_logs_a_line_after_a_long_silence(log, clock):
    with StageProgress("zero", 25, log) as shown:
        shown.update(1, METRICS)
        clock[0] += 31
        shown.update(2, METRICS)
    assert len(lines(log)) == 2


def test_stage_progress_leaves_the_last_state_when_it_is_interrupted(log, clock):
    with pytest.raises(KeyboardInterrupt), StageProgress("zero", 25, log) as shown:
        shown.update(1, METRICS)
        shown.update(2, METRICS)
        raise KeyboardInterrupt
    assert lines(log)[-1].startswith("zero 2/25")


def test_stage_progress_without_a_total_or_metrics_counts_steps(log, clock):
    with StageProgress("zero", None, log) as shown:
        shown.update(1, {"reward": math.nan})
    assert lines(log) == ["zero 1"]


def test_stage_progress_keeps_the_last_evaluation(log, clock):
    with StageProgress("zero", 2, log) as shown:
        shown.update(0, {"eval/pass@1": 0.16})
        shown.update(2, METRICS)
    assert "pass@1 0.16" in lines(log)[-1]


def test_stage_progress_draws_a_bar_that_fits_a_terminal(terminal):
    with StageProgress("zero", 30, terminal) as shown:
        shown.update(30, METRICS)
        terminal.print("[bold]scrolls above")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.file.getvalue())
    assert "━━━━" in plain and "30/30" in plain and "accuracy 0.70" in plain
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]", plain))


def test_stage_progress_redraws_one_line_of_a_notebook(monkeypatch, clock):
    display = pytest.importorskip("IPython.display")
    drawn = []

    class Handle:
        def update(self, bundle, raw):
            drawn.append(bundle["text/plain"])

    def show(bundle, raw, display_id):
        drawn.append(bundle["text/plain"])
        return Handle()

    monkeypatch.setattr(display, "display", show)
    console = Console(file=io.StringIO(), force_jupyter=True)
    with StageProgress("zero", 4, console) as shown:
        for step in range(1, 5):
            shown.update(step, METRICS)
    assert [re.search(r"\d/\d", line)[0] for line in drawn] == ["1/4", "4/4"]
    assert drawn[-1].startswith("zero  " + "█" * 20)
    assert console.file.getvalue() == ""


def test_progress_callback_stays_silent_for_short_work(log, clock):
    with progress_callback("pretraining", console=log) as on_progress:
        for done in range(1, 11):
            clock[0] += 0.05
            on_progress(done, 10)
    assert lines(log) == []


def test_progress_callback_reports_long_work_and_how_it_goes(log, clock):
    with progress_callback("pretraining", 100, log) as on_progress:
        clock[0] += 10
        on_progress(25, loss=2.34567)
        on_progress(26, loss=2.3)
        on_progress(100, metrics={"loss": 1.0})
    assert lines(log) == [
        "pretraining 25/100: loss 2.35 · 0:30 left",
        "pretraining 100/100: loss 1",
    ]


def test_progress_callback_appears_even_while_nothing_is_done(log, clock):
    with progress_callback("sampling", 100, log) as on_progress:
        on_progress(0)
        clock[0] += 2
        on_progress(0, tokens=4096)
    assert lines(log) == ["sampling 0/100: tokens 4096"]


def test_progress_of_long_work_may_appear_within_a_stage(terminal, clock):
    with StageProgress("zero", 30, terminal) as shown:
        shown.update(1, METRICS)
        with progress_callback("evaluating", 8, terminal) as on_progress:
            clock[0] += 2
            on_progress(8)
        shown.update(2, METRICS)
    drawn = terminal.file.getvalue()
    assert "evaluating" in drawn and "2/30" in drawn


def test_time_left_counts_only_the_steps_of_this_run(clock):
    left = TimeLeft(200)
    left.start()
    clock[0] += 1
    left.text(101)  # resumed after step 100
    clock[0] += 9
    assert left.text(110) == "1:30 left"


def test_time_left_does_not_charge_steps_for_the_evaluation_before_them(clock):
    left = TimeLeft(10)
    clock[0] += 60
    assert left.text(0) == ""
    clock[0] += 2
    assert left.text(1) == "0:18 left"


@pytest.mark.parametrize("console", ["log", "terminal"])
def test_completions_are_data_and_not_markup(console, request):
    console = request.getfixturevalue(console)
    text = "<think>[red]x[/red] [/] \x1b[2J\x07\x9b31m</think><answer>[link=x]</answer>"
    print_completions(
        "t[i]tle", [{"prompt": "[b]q", "completion": text, "answer": "[/i]"}], console=console
    )
    shown = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
    for literal in ("t[i]tle", "[b]q", "[red]x[/red] [/] ␛[2J␇␡31m</think>", "expected [/i]"):
        assert literal in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)


def test_completions_colour_the_tags(terminal):
    row = {"prompt": "q", "completion": "<think>a</think>"}
    print_completions("before", [row], console=terminal)
    assert "\x1b[1;35m<think>\x1b[0ma\x1b[1;35m</think>" in terminal.file.getvalue()


@pytest.mark.parametrize(
    ("accuracy", "shown"),
    [(1.0, "✓ right  expected 12"), (0.0, "✗ wrong  expected 12"), (0.5, "score 0.50")],
)
def test_completions_say_right_or_wrong(log, accuracy, shown):
    row = {"prompt": "q", "completion": "c", "answer": 12, "accuracy": accuracy}
    print_completions("before", [row], console=log)
    assert shown in log.file.getvalue()


@pytest.mark.parametrize("accuracy", [None, math.nan])
def test_completions_give_no_verdict_where_nothing_was_graded(log, accuracy):
    print_completions("before", [{"completion": "", "accuracy": accuracy}], console=log)
    assert "✓" not in log.file.getvalue() and "✗" not in log.file.getvalue()


def test_completions_show_as_many_as_asked_and_count_the_rest(log):
    rows = [{"prompt": f"q{n}", "completion": "c"} for n in range(5)]
    print_completions("before", rows, limit=2, console=log)
    shown = log.file.getvalue()
    assert "q1" in shown and "q2" not in shown and "and 3 more" in shown


def test_completions_show_chat_messages_as_turns(log):
    row = {"prompt": [{"role": "user", "content": "2+2?"}], "completion": "4"}
    print_completions("before", [row], console=log)
    assert "user: 2+2?" in log.file.getvalue()


def test_evaluation_is_one_line_of_headline_figures(log):
    print_evaluation("step 0", {"eval/pass@1": 0.16, "eval/mean_length": 7.24}, log)
    assert lines(log) == ["step 0  pass@1 16.0% · mean length 7.2"]


def test_summary_shows_before_and_after_and_a_dash_for_what_is_missing(log):
    after = {"eval/pass@1": 0.96, "eval/words/wait": 0.1}
    print_summary({"eval/pass@1": 0.16, "eval/mean_length": 7.0}, after, log)
    rows = [line.split() for line in lines(log) if line.strip()]
    assert ["pass@1", "16.0%", "96.0%"] in rows
    assert ["mean", "length", "tokens", "7.0", "–"] in rows
    assert ["reflective", "words", "per", "completion", "–", "0.10"] in rows


def test_visible_keeps_text_and_shows_controls():
    assert visible("é\n\t漢\x00\x1b\x7f") == "é\n\t漢␀␛␡"


def test_shorten_cuts_the_middle_and_says_how_much():
    assert shorten("x" * 10, 10) == "x" * 10
    assert shorten("a" * 60 + "b" * 60, 30) == f"{'a' * 20} … [90 characters] … {'b' * 10}"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (723, "12:03"), (9000, "2:30:00")]
)
def test_clock_text(seconds, text):
    assert clock_text(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(830, "830"), (8123, "8.1k"), (999_960, "1.0M"), (2.4e6, "2.4M")]
)
def test_short_number(value, text):
    assert short_number(value) == text

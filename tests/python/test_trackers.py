import importlib.util
import json
import math
import struct

import pytest
from test_tracking import step_stats

from r1core.trackers import (
    ROWS_SHOWN,
    Guarded,
    StepAxis,
    TrackerError,
    check_trackers,
    markdown_table,
    open_trackers,
)
from r1core.tracking import RunWriter, Tracker, rewind_metrics

CONFIG = {"name": "tiny", "stage": [{"name": "zero", "steps": 3}]}


class Memory(Tracker):
    """Remembers what it was told."""

    opened = []

    def __init__(self, directory=None, config=None):
        self.directory, self.config, self.told = directory, config, []
        self.opened.append(self)

    def log(self, stage, step, metrics):
        self.told.append(("log", stage, step, dict(metrics)))

    def log_completions(self, stage, step, columns, kind):
        self.told.append((kind, stage, step, sorted(columns)))

    def close(self):
        self.told.append("close")


class Offline:
    """A user's tracker with `log` alone, whose network is down."""

    calls = 0

    def log(self, stage, step, metrics):
        self.calls += 1
        raise ConnectionError("no route to host")


def refuse(directory, config):
    raise RuntimeError("no key")


def scalars(directory):
    """Read TensorBoard back: tag -> [(step, value)]."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    tags = events.Tags()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]}
    texts = {
        tag: [(e.step, e.tensor_proto.string_val[0].decode()) for e in events.Tensors(tag)]
        for tag in tags["tensors"]
    }
    return found, texts


def wandb_records(path):
    """Read the records of an offline W&B run: LevelDB's log format around protobuf messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, message = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:  # the rest of a block holds no header
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        message += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = Record()
            record.ParseFromString(message)
            yield record
            message = b""


def wandb_history(directory):
    """Return the logged rows of all offline runs in a run directory, and their run ids."""
    rows, ids = [], set()
    for path in sorted((directory / "wandb").glob("offline-run-*/*.wandb")):
        for record in wandb_records(path):
            if record.HasField("run"):
                ids.add(record.run.run_id)
            if record.HasField("history"):
                items = record.history.item
                values = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
                rows.append(values)
    return rows, ids


def run_once(directory, names, steps, stage="zero"):
    with RunWriter(directory, open_trackers(names, directory, CONFIG)) as writer:
        for step in steps:
            writer.log(stage, step, {"reward": step / 10, "kl": math.nan})
            writer.log_completions(stage, step_stats(step), {})


def test_the_axis_puts_stages_one_after_the_other():
    axis = StepAxis()
    points = [("a", 0), ("a", 2), ("a", 5), ("b", 0), ("b", 3), ("c", 1)]
    assert [axis.at(*point) for point in points] == [0, 2, 5, 5, 8, 9]


def test_the_axis_of_a_resumed_run_goes_on():
    axis = StepAxis([{"stage": "a", "step": 5}, {"stage": "b", "step": 3}])
    assert (axis.end, axis.at("b", 4), axis.at("a", 5)) == (8, 9, 5)


def test_the_run_writer_tells_trackers_all_and_closes_them_once(tmp_path):
    memory = Memory()
    with RunWriter(tmp_path, [memory]) as writer:
        writer.log("zero", 1, {"reward": 0.5})
        writer.log_completions("zero", step_stats(1), {})
        writer.log_evaluation("zero", 1, [{"prompt": "?", "completion": "!"}])
        writer.close()
    kinds = [told[0] for told in memory.told[:-1]]
    assert kinds == ["log", "completions", "eval"] and memory.told[-1] == "close"
    assert "completion" in memory.told[1][3]


def test_tensorboard_has_every_metric_under_its_stage(tmp_path):
    run_once(tmp_path, ["tensorboard"], [1, 2, 3])
    run_once(tmp_path, ["tensorboard"], [1, 2], stage="second")
    found, texts = scalars(tmp_path)
    values = [(step, pytest.approx(value)) for step, value in [(1, 0.1), (2, 0.2), (3, 0.3)]]
    assert found["zero/reward"] == values
    assert [step for step, _ in found["second/reward"]] == [4, 5]
    assert math.isnan(found["zero/kl"][0][1])
    tables = {tag: shown for tag, shown in texts.items() if "completions" in tag}
    assert [step for step, _ in tables["zero/completions/text_summary"]] == [1, 2, 3]
    assert "| completion |" in tables["zero/completions/text_summary"][0][1]
    assert '"steps": 3' in texts["recipe/text_summary"][0][1]


def test_tensorboard_hides_what_a_resumed_run_does_again(tmp_path):
    run_once(tmp_path, ["tensorboard"], [1, 2, 3, 4])
    rewind_metrics(tmp_path, [], {"zero": 2})
    run_once(tmp_path, ["tensorboard"], [3])
    assert [step for step, _ in scalars(tmp_path)[0]["zero/reward"]] == [1, 2, 3]


def test_tensorboard_of_a_run_that_begins_again_hides_all_of_it(tmp_path):
    run_once(tmp_path, ["tensorboard"], [1, 2, 3, 4])
    rewind_metrics(tmp_path, [], {})
    run_once(tmp_path, ["tensorboard"], [1])
    assert [step for step, _ in scalars(tmp_path)[0]["zero/reward"]] == [1]


@pytest.fixture
def offline(monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_PROJECT", "WANDB_NAME", "WANDB_RUN_ID", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_wandb_offline_holds_the_values_as_one_run_after_a_resume(offline, tmp_path):
    run_once(tmp_path, ["wandb"], [1, 2])
    rewind_metrics(tmp_path, [], {"zero": 1})
    run_once(tmp_path, ["wandb"], [2, 3])  # a step is repeated: W&B's own would refuse it
    rows, ids = wandb_history(tmp_path)
    rewards = [(r["global_step"], r["zero/reward"]) for r in rows if "zero/reward" in r]
    assert rewards == [(1, 0.1), (2, 0.2), (2, 0.2), (3, 0.3)]
    assert ids == {(tmp_path / "wandb-run-id").read_text()}
    assert any(key.startswith("zero/completions") for row in rows for key in row)
    tables = list((tmp_path / "wandb").rglob("*.table.json"))
    assert "completion" in json.loads(tables[0].read_text())["columns"]


def test_a_tracker_that_raises_is_told_of_once_and_training_goes_on(tmp_path, capsys):
    offline, memory = Offline(), Memory()
    with RunWriter(tmp_path, [Guarded("mine", offline), memory]) as writer:
        for step in range(3):
            writer.log("zero", step, {"reward": 0.5})
            writer.log_completions("zero", step_stats(step), {})
    output = capsys.readouterr().out
    assert output.count("mine failed") == 1 and "no route to host" in " ".join(output.split())
    assert offline.calls == 3 and memory.told[-1] == "close"  # it may come back; others go on


def test_a_users_own_tracker_is_given_by_its_path(tmp_path):
    (tracker,) = open_trackers(["test_trackers:Memory"], tmp_path, CONFIG)
    tracker.log("zero", 1, {"reward": 0.5})
    import test_trackers

    memory = test_trackers.Memory.opened[-1]
    assert memory.told == [("log", "zero", 1, {"reward": 0.5})]
    assert (memory.directory, memory.config) == (tmp_path, CONFIG)


@pytest.mark.parametrize(
    "name,message",
    [
        ("tensorbord", r"must be tensorboard, wandb or 'package.module:Class'; got 'tensorbord'"),
        ("no_such_package:Mine", "cannot be imported"),
        ("test_trackers:Nothing", "cannot be imported"),
        ("test_trackers:CONFIG", "must be a class or function"),
    ],
)
def test_a_tracker_that_is_none_is_refused(name, message):
    with pytest.raises(TrackerError, match=message):
        check_trackers([name])


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_names_the_extra(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(TrackerError, match=r"pip install r1core\[track\]"):
        check_trackers([name])


def test_a_tracker_that_refuses_to_begin_closes_the_others(tmp_path):
    with pytest.raises(TrackerError, match="cannot open 'test_trackers:refuse': no key"):
        open_trackers(["test_trackers:Memory", "test_trackers:refuse"], tmp_path, CONFIG)
    import test_trackers

    assert test_trackers.Memory.opened[-1].told == ["close"]


def test_a_table_of_text_keeps_its_cells_on_one_line():
    table = markdown_table({"a": ["x|y\nz", "<think>"], "b": [0.123456, None]})
    assert table.splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| x&#124;y z | 0.1235 |",
        "| &lt;think&gt; |  |",
    ]
    assert len(markdown_table({"a": list(range(100))}).splitlines()) == ROWS_SHOWN + 2

import json
import math
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch

from r1core.tracking import RunWriter, Tracker, list_tables, read_metrics, read_table
from r1core.types import RewardTable, Rollouts, SamplingParams, StepStats


class Letters:
    """Decodes id 1 as "a", 2 as "b", and so on."""

    def decode(self, ids, skip_special_tokens=False):
        return "".join(chr(96 + i) for i in ids)


def step_stats(step=12, prompts=("1+1=", "2+2="), tokenizer=True):
    N, T = 2 * len(prompts), 3
    tokens_NT = torch.arange(1, 1 + N * T).view(N, T) % 20 + 1
    rollouts = Rollouts(
        prompts=list(prompts),
        prompt_tokens=[torch.tensor([1, 2])] * len(prompts),
        group_size=2,
        tokens_NT=tokens_NT,
        logprobs_NT=torch.zeros(N, T),
        truncated_logprobs_NT=torch.zeros(N, T),
        entropies_NT=torch.zeros(N, T),
        lengths_N=torch.tensor([3, 1] * len(prompts)),
        mask_NT=torch.ones(N, T, dtype=torch.bool),
        finish_reasons=["stop", "length"] * len(prompts),
        sampling=SamplingParams(n=2),
        prompt_uids=list(range(len(prompts))),
        tokenizer=Letters() if tokenizer else None,
    )
    scores = torch.tensor([1.0, math.nan] * len(prompts))
    rewards = RewardTable(
        scores={"accuracy": scores, "format": torch.ones(N)},
        weights={"accuracy": 1.0, "format": 0.5},
        total_N=scores.nan_to_num() + 0.5,
        group_size=2,
        extra={"extracted": ["2", None] * len(prompts)},
    )
    return StepStats(step, {"reward": 1.0}, rollouts, rewards, torch.linspace(-1, 1, N))


def test_log_writes_one_whole_object_a_line_as_it_happens(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.log("zero", 1, {"reward": 0.5, "kl": math.nan, "grad_norm": math.inf})
        line = (tmp_path / "metrics.jsonl").read_text()  # before the file is closed
    assert line.endswith("\n")
    record = json.loads(line, parse_constant=pytest.fail)
    assert record == {"stage": "zero", "step": 1, "reward": 0.5, "kl": None, "grad_norm": None}


def test_log_accepts_scalars_of_any_library(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.log("zero", 1, {"a": torch.tensor(2.0), "b": 3, "c": True})
    assert read_metrics(tmp_path) == [{"stage": "zero", "step": 1, "a": 2.0, "b": 3.0, "c": 1.0}]


def test_log_rejects_metrics_that_would_hide_the_step(tmp_path):
    with RunWriter(tmp_path) as writer, pytest.raises(ValueError, match=r"got \['step'\]"):
        writer.log("zero", 1, {"step": 3.0})


def test_log_tells_every_tracker(tmp_path):
    class Memory(Tracker):
        def __init__(self):
            self.seen = []

        def log(self, stage, step, metrics):
            self.seen.append((stage, step, dict(metrics)))

    memory = Memory()
    with RunWriter(tmp_path, trackers=[memory]) as writer:
        writer.log("zero", 1, {"reward": 0.5})
    assert memory.seen == [("zero", 1, {"reward": 0.5})]


def test_read_metrics_gives_nan_for_null(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.log("zero", 1, {"kl": math.nan})
    assert math.isnan(read_metrics(tmp_path)[0]["kl"])


def test_read_metrics_of_a_run_without_metrics_is_empty(tmp_path):
    assert read_metrics(tmp_path) == []


@pytest.mark.parametrize("torn", ['{"stage": "zero", "st', '{"stage": "zero", "step": 2}', "\0\0"])
def test_read_metrics_leaves_out_a_torn_last_line(tmp_path, torn):
    with RunWriter(tmp_path) as writer:
        writer.log("zero", 1, {"reward": 0.5})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(torn)
    assert [record["step"] for record in read_metrics(tmp_path)] == [1]


def test_reopening_a_run_cuts_the_torn_line_and_continues(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"stage": "zero", "step": 1}\n{"stage": "ze')
    with RunWriter(tmp_path) as writer:
        writer.log("zero", 2, {"reward": 0.5})
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2]


def test_read_metrics_names_a_corrupt_line_in_the_middle(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"stage": "zero", "step": 1}\nnonsense\n')
    with pytest.raises(ValueError, match=r"line 2 of .*metrics.jsonl must be a JSON object"):
        read_metrics(tmp_path)


def test_a_killed_process_loses_no_line_it_logged(tmp_path):
    program = (
        "import os, signal, sys; from pathlib import Path; from r1core.tracking import RunWriter\n"
        "writer = RunWriter(Path(sys.argv[1]))\n"
        "for step in range(100): writer.log('zero', step, {'reward': 1.0})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, env=os.environ)
    assert [record["step"] for record in read_metrics(tmp_path)] == list(range(100))


def test_log_completions_writes_a_row_per_completion(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.log_completions("zero", step_stats(), [{"answer": "2"}, {"answer": "4"}])
    path = tmp_path / "completions" / "zero_completions_00012.parquet"
    rows = pq.read_table(path).to_pylist()
    assert [row["prompt"] for row in rows] == ["1+1=", "1+1=", "2+2=", "2+2="]
    assert [row["answer"] for row in rows] == ["2", "2", "4", "4"]
    assert [row["accuracy"] for row in rows] == [1.0, None, 1.0, None]
    assert rows[1] == {
        "step": 12,
        "prompt": "1+1=",
        "completion": "e",
        "answer": "2",
        "extracted": None,
        "accuracy": None,
        "format": 1.0,
        "reward": 0.5,
        "advantage": pytest.approx(-1 / 3),
        "length": 1,
        "finish_reason": "length",
    }


def test_log_completions_takes_columns_as_lists_too(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.log_completions("zero", step_stats(1), [{"answer": "2"}, {"answer": "4"}])
        writer.log_completions("zero", step_stats(2), {"answer": ["2", "4"]})
    first, second = list_tables(tmp_path, "completions")["zero"].values()
    drop_step = [{**row, "step": 0} for row in read_table(first)]
    assert drop_step == [{**row, "step": 0} for row in read_table(second)]


@pytest.mark.parametrize(
    "prompts",
    [
        ["text", [{"role": "user", "content": "x"}]],
        [[1, 2], [3]],
        ["lone surrogate \ud800", "nul \0"],
    ],
)
def test_log_completions_stores_prompts_of_any_kind(tmp_path, prompts):
    with RunWriter(tmp_path) as writer:
        writer.log_completions("zero", step_stats(prompts=prompts, tokenizer=False), [{}, {}])
    (path,) = list_tables(tmp_path, "completions")["zero"].values()
    assert all(isinstance(row["prompt"], str) for row in read_table(path))


@pytest.mark.parametrize(
    "values", [[1, "one"], [1, 2.5], [2**70, 1], [True, 3], [None, None], [{"a": {1}}, [2]], []]
)
def test_log_evaluation_stores_columns_of_any_kind(tmp_path, values):
    with RunWriter(tmp_path) as writer:
        writer.log_evaluation("zero", 3, [{"answer": value} for value in values])
    (path,) = list_tables(tmp_path, "eval")["zero"].values()
    assert len(read_table(path)) == len(values)


def test_log_completions_rejects_columns_of_another_batch(tmp_path):
    with RunWriter(tmp_path) as writer, pytest.raises(ValueError, match="2 values, one per prompt"):
        writer.log_completions("zero", step_stats(), [{"answer": "2"}])


def test_log_completions_without_rollouts_writes_nothing(tmp_path):
    with RunWriter(tmp_path) as writer:
        writer.log_completions("sft", StepStats(1, {}), [])
    assert list_tables(tmp_path, "completions") == {}


def test_a_completions_file_appears_only_when_whole(tmp_path, monkeypatch):
    def killed(source, target):
        raise KeyboardInterrupt

    with RunWriter(tmp_path) as writer:
        monkeypatch.setattr("r1core.tracking.os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            writer.log_evaluation("zero", 0, [{"prompt": "x"}])
    assert list_tables(tmp_path, "eval") == {}
    assert list((tmp_path / "completions").glob("*.parquet")) == []


def test_list_tables_tells_stages_and_kinds_apart(tmp_path):
    with RunWriter(tmp_path) as writer:
        for stage, step in (("zero", 20), ("zero", 3), ("a_eval_1", 0)):
            writer.log_evaluation(stage, step, [{"prompt": "x"}])
        writer.log_completions("zero", step_stats(5), [{}, {}])
    found = list_tables(tmp_path, "eval")
    assert {stage: list(steps) for stage, steps in found.items()} == {
        "zero": [3, 20],
        "a_eval_1": [0],
    }

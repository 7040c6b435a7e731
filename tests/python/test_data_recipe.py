"""A recipe's data table in a run: held-out part, pass rates, curriculum, and going on with them."""

import json
import sys

import pyarrow.parquet as pq
import pytest
from models import qwen2_policy

from r1core.data import load_questions
from r1core.pipeline import run_recipe
from r1core.recipe import RecipeError, load_recipe
from r1core.stage_setup import evaluation_spec
from r1core.tracking import read_metrics

REWARDS = """
import os

CALLS = []


def even(completion_ids, **columns):
    CALLS.append(columns)
    if len(CALLS) == int(os.environ.get("FAIL_AT", 0)):
        raise RuntimeError("planned")
    return [float(sum(ids) % 2 == 0) for ids in completion_ids]
"""
SETTINGS = ["zero.steps=4", "zero.questions_per_step=2", "zero.sampling.n=4"]
SETTINGS += ["zero.sampling.max_new_tokens=4", "zero.evaluation.questions=3"]
SETTINGS += ["zero.optimizer.lr=1e-3", 'zero.rewards=[{name="parity:even"}]']
TIMES = ("second", "memory", "time")  # of metrics that say how long a step took


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Overrides of a packaged recipe that train a small model on a single file of 60 rows."""
    qwen2_policy(max_position_embeddings=512).save_pretrained(tmp_path / "model")
    rows = [{"q": f"What is {n} + 4?", "gold": str(n + 4), "at": {"level": n}} for n in range(60)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "parity.py").write_text(REWARDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "parity", raising=False)  # an earlier test's
    return [
        *SETTINGS,
        f'zero.data={{path="{tmp_path}/a.jsonl", prompt="q", answer="gold", '
        'columns={level="at.level"}, eval_fraction=0.2}',
    ]


def recipe(tmp_path, settings, *more):
    return load_recipe("gsm8k_zero", [*settings, *more], model=str(tmp_path / "model"))


def column(run, name, step):
    """Return a column of a step's completions, a value per question."""
    path = run / "completions" / f"zero_completions_{step:05d}.parquet"
    return pq.read_table(path)[name].to_pylist()[::4]


def test_a_single_file_is_trained_on_and_held_out_of(tmp_path, settings):
    small = recipe(tmp_path, settings)
    run_recipe(small, tmp_path / "run")
    held_out = load_questions(evaluation_spec(small.stage[0]))
    evaluated = pq.read_table(tmp_path / "run/completions/zero_eval_00000.parquet")
    assert set(evaluated["prompt"].to_pylist()) == set(held_out.prompts[:3])
    trained = {
        prompt for step in (1, 2, 3, 4) for prompt in column(tmp_path / "run", "prompt", step)
    }
    assert len(trained) == 8 and not trained & set(held_out.prompts)


def test_a_run_goes_from_easy_to_hard(tmp_path, settings):
    easy = 'zero.data.order="easy_first"'
    run_recipe(recipe(tmp_path, settings, easy, "zero.data.order_by=level"), tmp_path / "run")
    levels = [level for step in (1, 2, 3, 4) for level in column(tmp_path / "run", "level", step)]
    assert levels == sorted(levels) and levels[-1] < 20


@pytest.mark.parametrize("fail_at", [2, 6])
def test_a_run_that_fails_goes_on_with_its_pass_rates(tmp_path, settings, monkeypatch, fail_at):
    """It fails in the second batch of the filter, or in a step: two batches, step 0, steps 1-3."""
    rated = ["zero.data.pass_rate.k=4", 'zero.data.order="easy_first"']
    small = recipe(tmp_path, settings, *rated, "zero.data.order_by=pass_rate")
    run_recipe(small, tmp_path / "whole")
    sys.modules["parity"].CALLS.clear()
    monkeypatch.setenv("FAIL_AT", str(fail_at))
    with pytest.raises(RuntimeError, match="planned"):
        run_recipe(small, tmp_path / "run")
    monkeypatch.delenv("FAIL_AT")
    run_recipe(small, tmp_path / "run")
    for step in (1, 2, 3, 4):
        rates = column(tmp_path / "run", "pass_rate", step)
        assert rates == column(tmp_path / "whole", "pass_rate", step)
        assert all(0 < value < 1 for value in rates)
    one, other = (
        [
            {name: value for name, value in line.items() if not any(t in name for t in TIMES)}
            for line in read_metrics(tmp_path / run)
        ]
        for run in ("whole", "run")
    )
    assert one == other


def test_a_filter_that_leaves_too_few_prompts_says_how_many(tmp_path, settings):
    hard = recipe(tmp_path, settings, "zero.data.pass_rate.k=2", "zero.data.pass_rate.low=0.9")
    message = r"data.pass_rate must leave at least questions_per_step = 2 prompts; 0 of \d+ prompts"
    with pytest.raises(RecipeError, match=message):
        run_recipe(hard, tmp_path / "run")


def test_evaluation_data_is_taken_as_it_is(tmp_path, settings):
    wrong = 'zero.evaluation_data={path="b.jsonl", pass_rate={k=4}}'
    with pytest.raises(RecipeError, match="zero: evaluation_data.pass_rate is not read here"):
        recipe(tmp_path, settings, wrong)


@pytest.mark.parametrize(
    "setting", ["zero.sampling.max_new_tokens", "zero.evaluation.max_new_tokens"]
)
def test_a_completion_limit_beyond_the_context_is_named(tmp_path, settings, setting):
    with pytest.raises(RecipeError, match="stage 'zero': max_new_tokens must .* of 512.* got 600"):
        run_recipe(recipe(tmp_path, settings, f"{setting}=600"), tmp_path / "run")


def test_a_benchmark_s_completion_limit_beyond_the_context_is_named(tmp_path, settings):
    data = f'data={{path="{tmp_path}/a.jsonl", prompt="q", answer="gold"}}'
    asked = f'benchmark=[{{name="b", {data}, '
    asked += 'rewards=[{name="accuracy"}], max_new_tokens=600}]'
    with pytest.raises(RecipeError, match="benchmark 'b': max_new_tokens must .* of 512.* got 600"):
        run_recipe(recipe(tmp_path, settings, asked), tmp_path / "run")

"""Recipes on Hugging Face checkpoints: real tokenizer files, a few steps, the result reloaded."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from models import llama_policy, qwen2_policy
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1core.pipeline import run_recipe
from r1core.policy import Policy
from r1core.recipe import RecipeError, load_recipe
from r1core.tracking import read_metrics

GSM8K = Path(__file__).parents[3] / "shared" / "data" / "gsm8k"
SMALL = ["zero.steps=2", "zero.questions_per_step=2", "zero.sampling.n=4"]
SMALL += ["zero.sampling.max_new_tokens=8", "zero.evaluation.questions=3"]
SMALL += ["zero.optimizer.lr=1e-3", "zero.tokens_per_micro_batch=4096"]


@pytest.fixture
def questions(tmp_path):
    """A directory of GSM8K-like JSONL files, all of whose rows fit a small context."""
    folder = tmp_path / "questions"
    folder.mkdir()
    rows = [{"question": f"What is {a} + 4?", "answer": f"Add.\n#### {a + 4}"} for a in range(9)]
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def brevity(tmp_path, monkeypatch):
    """A reward that even random text earns, as an override of a recipe."""
    (tmp_path / "my_rewards.py").write_text(
        "def brevity(completions, **columns):\n    return [-len(c) for c in completions]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return 'zero.rewards=[{name="accuracy"}, {name="my_rewards:brevity", weight=0.1}]'


def recipe(model, data, *overrides):
    return load_recipe(
        "gsm8k_zero", [*SMALL, f"zero.data.path={data}", *overrides], model=str(model)
    )


@pytest.mark.parametrize("build", [qwen2_policy, llama_policy])
def test_a_checkpoint_trains_and_reloads_everywhere(build, tmp_path, questions, brevity):
    base = build(max_position_embeddings=2048)
    base.save_pretrained(tmp_path / "model")
    report = run_recipe(recipe(tmp_path / "model", questions, brevity), tmp_path / "run")
    assert report.is_file()
    saved = tmp_path / "run" / "stages" / "zero"
    plain = AutoModelForCausalLM.from_pretrained(saved)
    ours = Policy.from_pretrained(saved)
    tokens = ours.encode(["What is 3 + 4?"])[0]
    assert tokens.tolist() == AutoTokenizer.from_pretrained(saved)("What is 3 + 4?")["input_ids"]
    assert torch.equal(ours.model(tokens[None]).logits, plain(tokens[None]).logits)
    trained = list(plain.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(trained, base.parameters(), strict=True))
    metrics = read_metrics(tmp_path / "run")
    assert [m["step"] for m in metrics if "policy_loss" in m or "reward" in m] == [1, 2]
    assert metrics[0]["step"] == 0 and "eval/pass@1" in metrics[0]


def test_completions_hold_the_untemplated_prompt(tmp_path, questions):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    run_recipe(recipe(tmp_path / "model", questions, "zero.steps=1"), tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "completions" / "zero_completions_00001.parquet")
    rows = table.to_pylist()
    assert len(rows) == 8
    assert all(row["prompt"].startswith("What is") for row in rows)
    assert {"accuracy", "format", "reward", "advantage", "completion", "answer"} <= set(rows[0])


def test_the_chat_template_is_used_once_and_needed(tmp_path, questions):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "qwen")
    llama_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "llama")
    chat = "zero.data.template=chat"
    run_recipe(recipe(tmp_path / "qwen", questions, chat, "zero.steps=1"), tmp_path / "run")
    with pytest.raises(ValueError, match="chat template"):
        run_recipe(recipe(tmp_path / "llama", questions, chat), tmp_path / "other")


def test_a_user_reward_by_dotted_path(tmp_path, questions, brevity):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    run_recipe(recipe(tmp_path / "model", questions, brevity), tmp_path / "run")
    assert any("rewards/brevity/mean" in line for line in read_metrics(tmp_path / "run"))


def test_a_run_whose_first_reward_fails_holds_no_directory(tmp_path, questions, brevity):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    (tmp_path / "no_rewards.py").write_text("def wrong(completions, **columns):\n    raise OSError")
    wrong = 'zero.rewards=[{name="no_rewards:wrong"}]'
    with pytest.raises(Exception, match="wrong"):
        run_recipe(recipe(tmp_path / "model", questions, wrong), tmp_path / "run")
    assert (tmp_path / "run" / "recipe.toml").is_file()
    right = recipe(tmp_path / "model", questions, brevity, "zero.steps=1")
    assert run_recipe(right, str(tmp_path / "run")).is_file()


def test_a_single_file_needs_its_own_evaluation_data(tmp_path, questions):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    train = questions / "train.jsonl"
    with pytest.raises(RecipeError, match="evaluation_data must be given where data is a single"):
        run_recipe(recipe(tmp_path / "model", train), tmp_path / "run")
    held_out = f'zero.evaluation_data={{path="{questions}/test.jsonl", prompt="question"}}'
    run_recipe(recipe(tmp_path / "model", train, held_out), tmp_path / "other")


def test_a_second_stage_starts_from_the_first(tmp_path, questions):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    one = recipe(tmp_path / "model", questions, "zero.steps=1")
    two = one.stage[0].model_copy(update={"name": "more", "start": "zero"})
    run_recipe(one.model_copy(update={"stage": [one.stage[0], two]}), tmp_path / "run")
    stages = [line["stage"] for line in read_metrics(tmp_path / "run")]
    assert stages.index("more") > stages.index("zero")
    assert (tmp_path / "run" / "stages" / "more" / "config.json").is_file()


def test_an_earlier_run_is_kept_unless_told(tmp_path, questions):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    small = recipe(tmp_path / "model", questions, "zero.steps=1")
    run_recipe(small, tmp_path / "run")
    other = recipe(tmp_path / "model", questions, "zero.steps=2")
    with pytest.raises(RecipeError, match="steps is 1 there and 2 here.; pass --overwrite"):
        run_recipe(other, tmp_path / "run")
    run_recipe(other, tmp_path / "run", overwrite=True)
    assert read_metrics(tmp_path / "run")[-1]["step"] == 2
    with pytest.raises(RecipeError, match="it holds no run"):
        run_recipe(small, tmp_path / "model", overwrite=True)
    assert (tmp_path / "model" / "config.json").is_file()


def test_a_wrong_setting_costs_no_earlier_run(tmp_path, questions):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    run_recipe(recipe(tmp_path / "model", questions, "zero.steps=1"), tmp_path / "run")
    wrong = recipe(tmp_path / "model", questions, "zero.data.prompt=text")
    for folder in ("run", "new"):
        with pytest.raises(ValueError, match="prompt must name a column"):
            run_recipe(wrong, tmp_path / folder, overwrite=True)
    assert (tmp_path / "run" / "report.md").is_file() and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "override,message",
    [
        ("zero.data.path=/nowhere/x.jsonl", "/nowhere/x.jsonl"),
        ("zero.data.prompt=text", "prompt must name a column.*'text'"),
        ("zero.questions_per_step=100", "at least questions_per_step = 100 prompts; got 9"),
        ('zero.rewards=[{name="acuracy"}]', "acuracy.*accuracy"),
    ],
)
def test_a_wrong_setting_fails_before_training(tmp_path, questions, override, message):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=message) as error:
        run_recipe(recipe(tmp_path / "model", questions, override), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_an_interrupted_run_keeps_its_policy_and_writes_its_report(tmp_path, questions):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    run_directory = tmp_path / "run"
    arguments = ["run", "gsm8k_zero", "--model", str(tmp_path / "model")]
    for override in [*SMALL, f"zero.data.path={questions}", "zero.steps=100000"]:
        arguments += ["--set", override]
    process = subprocess.Popen(
        [sys.executable, "-m", "r1core", *arguments, "--output", str(run_directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in a background
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        metrics = run_directory / "metrics.jsonl"
        if metrics.is_file() and metrics.read_text().count("\n") > 4:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    [rescued] = (run_directory / "checkpoints").iterdir()
    Policy.from_pretrained(rescued)
    assert (run_directory / "report.md").is_file()


@pytest.mark.skipif(not GSM8K.is_dir(), reason=f"needs GSM8K in {GSM8K}")
def test_gsm8k_itself(tmp_path):
    qwen2_policy(max_position_embeddings=2048).save_pretrained(tmp_path / "model")
    run_recipe(recipe(tmp_path / "model", GSM8K, "zero.steps=1"), tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert len(manifest["data"]["zero"]) == 64

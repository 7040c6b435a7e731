"""recipes/r1.toml from end to end on a Hugging Face checkpoint, at a size that a test affords.

The chat model that rewrites, judges and labels is a server of this test.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from models import qwen2_policy

from r1core.pipeline import run_recipe
from r1core.policy import Policy
from r1core.recipe import load_recipe
from r1core.reward_model import RewardModel
from r1core.tracking import read_metrics

STOPS = list(range(0, 400, 4))  # so that a model with random weights stops at all
FUNCTIONS = """
def always(completions, **columns):
    return [1.0 for _ in completions]
"""


class ChatModel(BaseHTTPRequestHandler):
    """Rewrites, summarises, prefers what is longer, and calls odd lengths unsafe."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = request["messages"][-1]["content"]
        self.server.asked.append((self.path, request["model"], asked))
        message = {"role": "assistant", "content": answer(asked)}
        body = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


def answer(asked):
    if asked.startswith("Rewrite"):
        return "I add the two numbers."
    if asked.startswith("Summarise"):
        return "The sum is \\boxed{7}."
    if asked.startswith("Two assistants"):
        first, second = asked.split("Assistant A:")[1].split("Assistant B:")
        ahead = len(first.strip()) - len(second.strip())
        return "[[A>>B]]" if ahead > 0 else "[[B>>A]]" if ahead < 0 else "[[A=B]]"
    return "[[SAFE]]" if len(asked) % 2 else "[[UNSAFE]]"


@pytest.fixture(scope="module")
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), ChatModel)
    made.asked = []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("r1")
    qwen2_policy(max_position_embeddings=1024).save_pretrained(path / "model")
    (path / "gsm8k").mkdir()
    rows = [{"question": f"What is {a} + 4?", "answer": f"#### {a + 4}"} for a in range(6)]
    for split in ("train", "test"):
        write_rows(path / "gsm8k" / f"{split}.jsonl", rows)
    domains = ("helpful", "safety")
    general = [{"prompt": f"Greet {a}", "domain": domains[a % 2]} for a in range(6)]
    write_rows(path / "general.jsonl", general)
    (path / "r1_functions.py").write_text(FUNCTIONS)
    return path


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def small_recipe(folder, server):
    """Return r1.toml with its own stages, data columns, templates and rules, made small."""
    text = (folder / "r1.toml").read_text()
    text = text.replace('path = "openai/gsm8k", name = "main"', f'path = "{folder}/gsm8k"')
    text = text.replace('"general.jsonl"', f'"{folder}/general.jsonl"')
    text = text.replace("http://localhost:8000", f"http://127.0.0.1:{server.server_port}")
    text = text.replace('{ name = "accuracy" }', '{ name = "r1_functions:always" }')
    text = text.replace('{ name = "format", options = { style = "think_summary" } }]', "]")
    text = text.replace("rewards = []", 'rewards = [{ name = "r1_functions:always" }]')
    text = text.replace("from_step = 1301", "from_step = 2").replace(
        "questions = 1319", "questions = 2"
    )
    (folder / "small.toml").write_text(text)
    sets = ['model.dtype="float32"', "zero.length_schedule=[]"]
    for name in ("zero", "dev2", "r1"):
        sets += [f"{name}.steps=2", f"{name}.questions_per_step=2", f"{name}.minibatches=1"]
        sets += [f"{name}.sampling={{n=4, max_new_tokens=8, stop_token_ids={STOPS}}}"]
        sets += [f"{name}.evaluation={{every=2, questions=2, samples=2}}"]
    for name in ("cold_start", "samples", "pairs", "labels"):
        sets += [f"{name}.sampling={{n=6, max_new_tokens=8, stop_token_ids={STOPS}}}"]
    sets += ["cold_start.selection={min_language=0, max_repetition=1.0}"]
    sets += ["samples.selection={min_language=0, max_repetition=1.0, code_blocks=true}"]
    for name in ("dev1", "dev3", "helpful", "harmless"):
        sets += [f"{name}.batch_size=4", f"{name}.checkpoint={{every=5}}"]
    sets += ["helpful.data={stage='pairs'}", "harmless.data={stage='labels'}"]
    return load_recipe(folder / "small.toml", sets, model=str(folder / "model"))


@pytest.fixture(scope="module")
def run(folder, server):
    from r1core.recipe import find_recipe

    (folder / "r1.toml").write_text(find_recipe("r1").read_text())
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(folder)
    recipe = small_recipe(folder, server)
    small = [x.model_copy(update={"max_new_tokens": 8, "samples": 2}) for x in recipe.benchmark]
    run_recipe(recipe.model_copy(update={"benchmark": small}), folder / "run")
    yield folder / "run"
    patch.undo()


def rows_of(run, stage):
    return [json.loads(x) for x in (run / "stages" / stage / "data.jsonl").read_text().splitlines()]


def test_every_stage_of_the_figure_ran_on_a_checkpoint(run):
    stages = [stage.name for stage in load_recipe("r1").stage]
    assert sorted(path.name for path in (run / "stages").iterdir()) == sorted(stages)
    for name in ("zero", "dev1", "dev2", "dev3", "r1"):
        assert Policy.from_pretrained(run / "stages" / name).tokenizer is not None
    assert (run / "pipeline.png").is_file()


def test_the_chat_model_rewrote_the_cold_start_and_judged(run, server):
    for row in rows_of(run, "cold_start"):
        assert row["completion"] == (
            "<think>\nI add the two numbers.\n</think>\nThe sum is \\boxed{7}."
        )
        assert row["prompt"].startswith("What is")  # without R1-Zero's template
    for row in rows_of(run, "pairs"):
        chosen, rejected = (
            row[k].rpartition("</think>")[2].strip() for k in ("chosen", "rejected")
        )
        assert len(chosen) > len(rejected) and row["margin"] == 3
    assert {row["label"] for row in rows_of(run, "labels")} == {0.0, 1.0}
    assert {path for path, _, _ in server.asked} == {"/v1/chat/completions"}
    assert {model for _, model, _ in server.asked} == {"deepseek-ai/DeepSeek-V3"}
    pairs = [asked for _, _, asked in server.asked if asked.startswith("Two assistants")]
    assert len(pairs) % 4 == 0  # both orders, twice


def test_each_reward_model_scores_its_own_domain_from_its_step_on(run):
    lines = [x for x in read_metrics(run) if x["stage"] == "r1" and "reward" in x]
    assert "rewards/helpful/mean" not in lines[0]
    assert "rewards/helpful/mean" in lines[1] or "rewards/harmless/mean" in lines[1]
    assert RewardModel.from_pretrained(run / "stages/helpful").part == "summary"
    assert RewardModel.from_pretrained(run / "stages/harmless").part == "all"

"""The pipeline's other stages: each runs from a recipe, and goes on bit for bit when killed."""

import json
import sys
from pathlib import Path

import pytest
from models import qwen2_policy
from test_resume import go_on, kill_run, without_clocks
from transformers import AutoModelForSequenceClassification

from r1core.pipeline import run_recipe
from r1core.recipe import RecipeError, load_recipe
from r1core.reward_model import RewardModel
from r1core.tracking import read_metrics

STOPS = list(range(0, 400, 4))  # so that a model with random weights stops at all
RECIPE = """
name = "stages"
seed = 5
[model]
path = "{folder}/model"
[[benchmark]]
name = "brevity"
data = {{ path = "{folder}/questions", prompt = "question", split = "test" }}
rewards = [{{ name = "stage_functions:brevity" }}]
questions = 2
samples = 2
max_new_tokens = 6
[[stage]]
name = "cold_start"
kind = "cold_start"
from = "base"
questions_per_step = 3
rewriter = {{ function = "stage_functions:rewrite" }}
sampling = {{ n = 8, max_new_tokens = 6, stop_token_ids = {stops} }}
selection = {{ min_language = 0, max_repetition = 1.0, per_prompt = 3 }}
  [[stage.sources]]
  name = "short"
  data = {{ path = "{folder}/questions", prompt = "question", limit = 5 }}
  rewards = [{{ name = "stage_functions:even" }}]
  weight = 2
  [[stage.sources]]
  name = "any"
  data = {{ path = "{folder}/questions", prompt = "question" }}
  rewards = [{{ name = "stage_functions:always" }}]
  weight = 1
[[stage]]
name = "dev1"
kind = "sft"
from = "base"
data = {{ stage = "cold_start", eval_size = 1 }}
epochs = 4
batch_size = 2
optimizer = {{ lr = 1e-3 }}
evaluation_every = 2
checkpoint = {{ every = 2 }}
[[stage]]
name = "samples"
kind = "rejection_sampling"
from = "dev1"
questions_per_step = 4
sampling = {{ n = 6, max_new_tokens = 6, stop_token_ids = {stops} }}
selection = {{ min_language = 0, max_repetition = 1.0, per_prompt = 3 }}
  [[stage.sources]]
  name = "any"
  data = {{ path = "{folder}/questions", prompt = "question" }}
  rewards = [{{ name = "stage_functions:always" }}]
  quota = 3
[[stage]]
name = "pairs"
kind = "preferences"
from = "dev1"
form = "pairs"
judge = {{ function = "stage_functions:judge" }}
min_margin = 0.5
questions_per_step = 4
sampling = {{ n = 8, max_new_tokens = 6, stop_token_ids = {stops} }}
  [[stage.sources]]
  name = "any"
  data = {{ path = "{folder}/questions", prompt = "question" }}
[[stage]]
name = "helpful"
kind = "reward_model"
from = "dev1"
data = {{ stage = "pairs" }}
evaluation_data = {{ stage = "pairs" }}
form = "pairs"
part = "all"
epochs = 2
batch_size = 3
optimizer = {{ lr = 1e-3 }}
evaluation_every = 2
checkpoint = {{ every = 1 }}
[[stage]]
name = "r1"
kind = "reasoning_rl"
from = "dev1"
data = {{ path = "{folder}/questions", prompt = "question" }}
mixture = [{{ data = {{ path = "{folder}/others.jsonl" }}, share = 0.5, from_step = 2 }}]
rewards = [
  {{ name = "stage_functions:brevity" }},
  {{ name = "helpful", stage = "helpful", domain = "general", from_step = 3 }},
]
steps = 4
questions_per_step = 2
sampling = {{ n = 4, max_new_tokens = 6 }}
evaluation = {{ every = 4, questions = 2, samples = 2 }}
checkpoint = {{ every = 2 }}
"""
FUNCTIONS = """
def always(completions, **columns):
    return [1.0 for _ in completions]

def even(completions, **columns):
    return [float(len(c) % 2 == 0) for c in completions]

def brevity(completions, **columns):
    return [-float(len(c)) for c in completions]

def rewrite(row, completion):
    return None if len(completion) % 5 == 0 else f"<think> {completion}</think> done"

def judge(row, first, second):
    return len(second) - len(first) + 0.25
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    qwen2_policy(max_position_embeddings=512).save_pretrained(folder / "model")
    (folder / "questions").mkdir()
    rows = [{"question": f"What is {a} + 4?", "answer": f"#### {a + 4}"} for a in range(7)]
    for split in ("train", "test"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "questions" / f"{split}.jsonl").write_text(text)
    others = [{"prompt": f"Greet {a}", "answer": "", "domain": "general"} for a in range(3)]
    (folder / "others.jsonl").write_text("".join(json.dumps(row) + "\n" for row in others))
    (folder / "stage_functions.py").write_text(FUNCTIONS)
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder, stops=STOPS))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def whole(home):
    return go_on(home, home / "whole")


def data_of(directory, stage):
    lines = (directory / "stages" / stage / "data.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_cold_start_is_rewritten_in_proportion_and_says_where_it_comes_from(whole):
    rows = data_of(whole, "cold_start")
    counts = [sum(row["source"] == name for row in rows) for name in ("short", "any")]
    assert counts[0] == 2 * counts[1] > 0 or abs(counts[0] - 2 * counts[1]) <= 1
    for row in rows:
        earlier = row["provenance"]["rewritten_from"]
        assert row["completion"] == f"<think> {earlier}</think> done"
        assert len(earlier) % 2 == 0 or row["source"] == "any"
        assert set(row["provenance"]) >= {"prompt_uid", "sample", "seed", "temperature", "reward"}
        assert row["prompt"].startswith("What is") and row["answer"].startswith("####")


def test_a_quota_ends_the_sampling(whole):
    assert len(data_of(whole, "samples")) == 3


def test_pairs_prefer_what_the_judge_prefers_in_both_orders(whole):
    for row in data_of(whole, "pairs"):
        assert len(row["chosen"]) < len(row["rejected"])
        assert row["margin"] == len(row["rejected"]) - len(row["chosen"])


def test_a_reward_model_of_the_run_is_a_reward_from_its_step_on_in_its_domain(whole):
    lines = [x for x in read_metrics(whole) if x["stage"] == "r1" and "reward" in x]
    assert ["rewards/helpful/mean" in x for x in lines] == [False, False, True, True]
    directory = whole / "stages" / "helpful"
    assert AutoModelForSequenceClassification.from_pretrained(directory).config.num_labels == 1
    assert RewardModel.from_pretrained(directory).part == "all"


def test_every_policy_is_put_to_the_benchmarks_and_the_report_has_the_table(whole):
    lines = [x for x in read_metrics(whole) if "benchmark/brevity/brevity" in x]
    assert [x["stage"] for x in lines] == ["dev1", "r1"]
    report = (whole / "report.md").read_text()
    assert "| benchmark | % | dev1 | r1 |" in report


def test_the_report_shows_the_pipeline_its_costs_and_every_policys_answer(whole):
    report = (whole / "report.md").read_text()
    assert (whole / "pipeline.png").stat().st_size > 10_000
    costs = report.split("## Cost")[1].split("##")[0]
    rows = [line.split(" | ") for line in costs.splitlines() if line.startswith("| ")][2:]
    names = [row[0].strip("| ").replace("\\", "") for row in rows]
    assert names == ["cold_start", "dev1", "samples", "pairs", "helpful", "r1", "all"]
    answers = report.split("## One question, every policy")[1].split("\n## ")[0]
    assert answers.count("dev1") == 1 and answers.count("r1") == 1 and "What is" in answers


def test_tokens_are_counted_through_the_rounds_of_a_data_set(whole):
    lines = [x for x in read_metrics(whole) if x["stage"] == "cold_start"]
    tokens = [x["num_tokens"] for x in lines]
    assert tokens == sorted(tokens) and tokens[-1] > 2 * tokens[0]


def test_a_stage_can_be_run_alone_once_what_it_needs_is_there(home, whole, tmp_path):
    recipe = load_recipe(home / "recipe.toml")
    with pytest.raises(RecipeError, match="'dev1' needs cold_start, not run yet; add --stage cold"):
        run_recipe(recipe, tmp_path / "run", only=["dev1"])
    with pytest.raises(RecipeError, match="--stage must be of cold_start, .*; got 'dev9'"):
        run_recipe(recipe, tmp_path / "run", only=["dev9"])
    run_recipe(recipe, tmp_path / "run", only=["dev1", "cold_start"])
    assert sorted(x.name for x in (tmp_path / "run/stages").iterdir()) == ["cold_start", "dev1"]
    run_recipe(recipe, tmp_path / "run", only=["pairs"])
    pairs = Path("stages/pairs/data.jsonl")
    assert (tmp_path / "run" / pairs).read_bytes() == (whole / pairs).read_bytes()
    run_recipe(recipe, tmp_path / "run")
    logged = {x["stage"] for x in read_metrics(tmp_path / "run")}
    assert logged == {x["stage"] for x in read_metrics(whole)}


POINTS = {
    "sampling the cold start": ("r1core.stages.dataset:sample_groups", 2),
    "in its second source": ("r1core.stages.dataset:sample_groups", 4),
    "writing the data set": ("r1core.dataset_run:whole_directory", 1),
    "fine-tuning": ("r1core.stages.training_state:optimizer_step", 4),
    "in the evaluation loss": ("r1core.sft_run:evaluation_loss", 2),
    "in the benchmarks": ("r1core.benchmarks:evaluate", 1),
    "judging pairs": ("r1core.stages.preferences:sample_groups", 2),
    "training the reward model": ("r1core.reward_model_run:evaluation_metrics", 3),
    "in the last stage": ("r1core.stages.draw:sample_groups", 4),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_stage_goes_on_bit_for_bit(home, whole, tmp_path, point):
    kill_run(home, tmp_path / "run", *POINTS[point])
    go_on(home, tmp_path / "run")
    assert without_clocks(tmp_path / "run") == without_clocks(whole)
    for path in (whole / "stages").glob("*/*.*"):
        if path.suffix in (".jsonl", ".safetensors"):
            other = tmp_path / "run" / path.relative_to(whole)
            assert other.read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("dev1.data.stage=nothing", "data.stage must be an earlier stage; got 'nothing'"),
        ("dev1.data.stage=r1", "data.stage must be an earlier stage; got 'r1'"),
        ("pairs.judge={function='judge'}", "pairs.judge.function: String should match pattern"),
        ("r1.mixture=[{data={path='x'}, share=1.5}]", "share: Input should be less than 1"),
        ("cold_start.rewriter={}", "needs exactly one of function, endpoint and path"),
        ("dev1.epoch=3", "unknown key dev1.epoch; did you mean 'dev1.epochs'?"),
        ("dev1.kind=stf", "dev1: "),
    ],
)
def test_a_mistake_in_a_recipe_is_named(home, change, message):
    with pytest.raises(RecipeError) as error:
        load_recipe(home / "recipe.toml", [change])
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("/others.jsonl", "/gone.jsonl", "stage 'r1': .*path must exist; got .*gone.jsonl"),
        ("stage_functions:rewrite", "stage_functions:write", "stage 'cold_start': .*must name a"),
        ("stage_functions:judge", "functions:judge", "stage 'pairs': .*must name a function"),
        ("stage_functions:always", "stage_functions:ever", "stage 'cold_start': .*ever"),
    ],
)
def test_what_a_late_stage_lacks_is_said_before_the_first_trains(home, tmp_path, old, new, message):
    text = (home / "recipe.toml").read_text()
    assert old in text
    (tmp_path / "recipe.toml").write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=message):
        run_recipe(load_recipe(tmp_path / "recipe.toml"), tmp_path / "run")
    assert not (tmp_path / "run" / "stages").exists()


def test_a_stage_that_keeps_nothing_says_so(home, tmp_path):
    text = (home / "recipe.toml").read_text().replace("stage_functions:even", "json_format")
    text = text.replace("stage_functions:always", "json_format")
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(RecipeError, match="stage 'cold_start': no completion was kept"):
        run_recipe(load_recipe(tmp_path / "recipe.toml"), Path(tmp_path / "run"))

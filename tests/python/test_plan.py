"""`r1core plan`: formulas against autograd, the splitter and peft, figures against peaks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import peft
import pytest
import torch
from test_cli import run
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from r1core.lora import LoraSettings
from r1core.plan import find_device, plan_recipe
from r1core.plan import module as hf
from r1core.plan.batch import Tokens, micro_batch, micro_batches
from r1core.plan.parts import Setup
from r1core.plan.shape import model_shape
from r1core.recipe import load_recipe
from r1core.stages.minibatches import split_by_tokens

BENCH = Path(__file__).parents[1] / "bench"
GIB = 2**30
LORA = LoraSettings(r=8)


def config(family=Qwen3Config, layers=2, **sizes):
    """Return a small decoder with fewer key than query heads."""
    defaults = {
        "vocab_size": 1000,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 512,
    }
    return family(**defaults | sizes)


def billions(**sizes):
    """Return the configuration of Qwen2.5-7B."""
    return Qwen2Config(
        vocab_size=152_064,
        hidden_size=3584,
        intermediate_size=18_944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        tie_word_embeddings=False,
        **sizes,
    )


def setup_of(found, dtype=torch.float32, lora=None):
    """Return how the module's own forward trains a model on the CPU."""
    return Setup(model_shape(found), dtype.itemsize, "cpu", False, False, lora, False, 2)


def with_adapter(model):
    """Add a LoRA adapter, as `r1core.lora` does."""
    settings = peft.LoraConfig(r=LORA.r, target_modules="all-linear", task_type="CAUSAL_LM")
    peft.inject_adapter_in_model(settings, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return model


# Formulas -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [LlamaConfig, Qwen2Config, Qwen3Config])
def test_a_shape_is_that_of_the_model(family):
    found = config(family, tie_word_embeddings=True)
    model, shape = AutoModelForCausalLM.from_config(found), model_shape(found)
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    assert (shape.vocab, shape.query, shape.kv, shape.layers) == (1000, 128, 64, 2)
    assert shape.tied and shape.engine and shape.head_norms == (family is Qwen3Config)
    adapter = sum(p.numel() for p in with_adapter(model).parameters() if p.requires_grad)
    assert shape.adapter(LORA) == adapter and shape.adapted(LORA) == 7


def saved_bytes(layers, dtype, family, lora, tokens):
    """Return what autograd saves of a packed forward pass, parameters left out."""
    model = AutoModelForCausalLM.from_config(config(family, layers), dtype=dtype).eval()
    model = with_adapter(model) if lora else model
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = tensor  # keeps the address taken
        return tensor

    ids = torch.ones(tokens.sequences, tokens.columns, dtype=torch.int64)
    half = torch.arange(tokens.columns // 2).repeat(tokens.sequences, 2)  # two sequences a row
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = model.model(input_ids=ids, position_ids=half, use_cache=False).last_hidden_state
    assert hidden.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", [LlamaConfig, Qwen3Config])
def test_a_layer_of_a_module_keeps_what_autograd_saves(family, dtype, lora):
    tokens = Tokens(2, 2, 64, 64, shared=False, masked=True)
    one, two = (saved_bytes(layers, dtype, family, lora, tokens) for layers in (1, 2))
    predicted = [
        hf.kept_activations(setup_of(config(family, layers), dtype, lora), tokens)
        for layers in (1, 2)
    ]
    assert predicted[1] - predicted[0] == two - one  # to the byte


@pytest.mark.parametrize("budget", [40, 100, 257, 1024, 10_000])
@pytest.mark.parametrize("layout", ["shared", "packed"])
def test_the_largest_micro_batch_is_what_the_splitter_yields(layout, budget):
    groups, n, prompt, completion = 5, 4, 24, 17
    rollouts = SimpleNamespace(
        prompt_tokens=[torch.full((prompt,), p) for p in range(groups)],
        lengths_N=torch.full((groups * n,), completion),
        group_size=n,
    )
    every_N = torch.ones(groups * n, dtype=torch.bool)
    parts = list(split_by_tokens(rollouts, every_N, budget, layout=layout))
    shared = layout == "shared"
    tokens = micro_batch(budget, groups, n, prompt, completion, shared=shared)
    largest = max(len(index) for index in parts)
    assert tokens.sequences == largest
    if not shared:
        assert tokens.rows == largest * (prompt + completion)
        assert micro_batches(tokens, groups, n) == len(parts)


# Recipes ------------------------------------------------------------------------------------------


def planned(monkeypatch, capsys, *arguments):
    """Run `r1core plan --json`; return exit status and what it says."""
    status, output, errors = run(monkeypatch, capsys, "plan", *arguments, "--json")
    assert errors == ""
    return status, json.loads(output)


def test_a_world_is_planned_without_a_base(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("R1CORE_CACHE", str(tmp_path))
    status, plan = planned(monkeypatch, capsys, "quickstart", "--device", "8GB")
    assert status == 0 and plan["fits"] and not list(tmp_path.iterdir())
    (stage,) = plan["stages"]
    assert stage["name"] == "zero" and stage["peak_bytes"] < GIB
    assert {"sampling", "update", "optimizer step"} <= set(stage["moments"])
    assert stage["moments"]["update"]["weights"] == stage["moments"]["update"]["gradients"]


def test_every_kind_of_stage_has_a_plan(monkeypatch, capsys):
    for recipe in ("r1_tiny", "experiment_ppo"):
        _, plan = planned(monkeypatch, capsys, recipe, "--device", "8GB")
        assert [stage["name"] for stage in plan["stages"]] == [
            stage.name for stage in load_recipe(recipe).stage
        ]
        assert all(stage["peak_bytes"] > 0 for stage in plan["stages"])


def test_what_does_not_fit_comes_with_keys_that_make_it_fit(monkeypatch, capsys, tmp_path):
    billions().save_pretrained(tmp_path)
    asked = ("gsm8k_zero", "--model", str(tmp_path), "--device", "H100")
    status, plan = planned(monkeypatch, capsys, *asked)
    (stage,) = plan["stages"]
    assert status == 1 and not plan["fits"] and stage["together"]["set"]
    peaks = [change["peak_bytes"] for change in stage["changes"]]
    assert peaks == sorted(peaks) and peaks[0] < stage["peak_bytes"]
    keys = [word for key in stage["together"]["set"] for word in ("--set", key)]
    status, changed = planned(monkeypatch, capsys, *asked, *keys)
    assert status == 0 and changed["fits"]
    assert changed["stages"][0]["peak_bytes"] == stage["together"]["peak_bytes"]


def test_seven_billion_parameters_are_planned_by_arithmetic(tmp_path):
    billions().save_pretrained(tmp_path)
    recipe = load_recipe("gsm8k_zero", ["model.dtype=bfloat16"], model=str(tmp_path))
    count = model_shape(billions()).parameters
    assert count == 7_615_616_512
    stage = plan_recipe(recipe, find_device("H200")).stages[0]
    step = next(moment for moment in stage.moments if moment.name == "optimizer step")
    held = {name: step.parts[name] / count for name in step.parts if step.parts[name]}
    assert held["weights"] == held["reference"] == 2
    assert held["masters"] == held["gradients"] == 4 and held["optimizer moments"] == 8


def test_lora_keeps_no_reference_and_trains_the_adapter_alone(tmp_path):
    billions().save_pretrained(tmp_path)
    recipe = load_recipe("gsm8k_zero", ["model.lora={ r = 16 }"], model=str(tmp_path))
    parts = plan_recipe(recipe, find_device("80GB")).stages[0].peak.parts
    assert parts.get("reference", 0) == 0
    assert parts["optimizer moments"] < 0.02 * parts["weights"]


def test_the_table_names_the_peak(monkeypatch, capsys):
    status, output, _ = run(monkeypatch, capsys, "plan", "quickstart", "--device", "8GB")
    assert status == 0
    for word in ("zero, by part", "sampling", "update", "weights", "KV cache", "activations"):
        assert word in output


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["nothing"], "no recipe 'nothing'"),
        (["gsm8k_zero", "--model", "/nowhere"], "causal LM from /nowhere"),
        (["quickstart", "--device", "H100"], "the world sum_chain, which runs on the CPU"),
        (["quickstart", "--device", "large"], "--device must be cpu, cuda, one of"),
        (["quickstart", "--stage", "one"], "--stage must be of zero; got 'one'"),
    ],
)
def test_a_users_mistake_is_one_line(monkeypatch, capsys, arguments, message):
    status, _, errors = run(monkeypatch, capsys, "plan", *arguments)
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(lines) == 1 and message in lines[0]
    assert "Traceback" not in errors


def test_a_device_is_a_name_or_a_size():
    assert find_device("80GB").memory == 80 * 10**9
    assert find_device("24GiB").memory == 24 * GIB
    assert find_device("h100").kind == "cuda" and find_device("cpu").memory > GIB


@pytest.mark.parametrize(
    "name,message", [("cuda:2", "must be below cuda:2, the GPUs here"), ("cudax", "must be cpu,")]
)
def test_a_gpu_that_is_not_there_is_said(monkeypatch, name, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=f"plan: --device .*{message}"):
        find_device(name)


# Measured -----------------------------------------------------------------------------------------

MEASURED = [
    "small",
    "small, checkpointing",
    "small, LoRA, reference",
    "small, bfloat16",
    "small, HF",
    "small, HF, checkpointing",
]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_predictions_are_near_the_measured_peaks():
    """Two steps of each case in one child process, above what it held before the model.

    malloc's threshold is fixed, so that what is freed goes back to the system and the peak is what
    the step asked for; what it keeps otherwise, "malloc" of a plan, is `bench_plan.py`'s. The
    engine's own are then within 5 %, the module's 7 % low to 18 % high, since a layer's gradients
    and activations overlap less than the formulas say; the bounds leave that much again for the
    allocator, but no more than a tenth below.
    """
    command = [sys.executable, str(BENCH / "bench_plan.py"), "--child", "--cases", *MEASURED]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"},
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [row["case"] for row in rows] == MEASURED
    ratios = {row["case"]: row["asked_mb"] / row["measured_mb"] for row in rows}
    assert all(0.9 <= ratio <= 1.25 for ratio in ratios.values()), ratios

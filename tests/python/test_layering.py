"""Dependencies point one way: kernels <- csrc <- bindings <- r1core.<op> <- stages <- CLI."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INCLUDE = re.compile(r'^\s*#include\s+[<"]([^>"]+)[>"]', re.MULTILINE)

LAYERS = [  # a module may import from its own layer and from those before it
    {"_C", "cuda", "types", "notices", "words", "stop_strings", "repetition", "torch_threads"},
    {"loss_config", "loss_tokens"},
    {"advantage", "gae", "sample_tokens", "logprob", "layers", "oracle", "decoder_spec"},
    {"native_forward", "engine"},
    {
        "grpo_loss",
        "grpo_loss_from_logits",
        "grpo_loss_from_hidden",
        "importance",
        "kl",
        "value_loss",
        "logprobs_from_hidden",
    },
    {
        "forward",
        "native_loss",
        "hf_forward",
        "hf_head",
        "hf_sampling",
        "load_checks",
        "lora",
        "policy",
        "checkpoint",
        "rewards",
        "data",
        "eval_sets",
        "worlds",
    },
    {"sampling", "selection", "reward_model", "critic"},
    {"stages"},
    {
        "findings",
        "rules_policy",
        "rules_rewards",
        "loss_scale",
        "tracking",
        "progress",
        "progress_views",
        "readable",
        "console",
        "report_data",
        "stage_table",
        "panels",
        "plots",
        "level_plot",
        "published",
    },
    {"cost", "markdown", "pipeline_plot", "comparison_plot"},
    {"report_pipeline"},
    {
        "report",
        "manifest",
        "recipe_keys",
        "recipe_errors",
        "recipe_data",
        "recipe_sections",
        "recipe_stages",
        "recipe",
        "interrupt",
        "diagnosis",
        "trackers",
    },
    {"run_directory", "models", "stage_data", "reward_sections", "verify_file"},
    {"benchmarks", "stage_setup", "stage_checks", "evaluation", "plan"},
    {"stage_run"},
    {"rl_run", "sft_run", "dataset_run", "reward_model_run", "evaluate_run"},
    {"pipeline", "doctor"},
    {"cli", "cli_eval", "__main__", "__init__"},
]
# A world's base is trained by the pretrain stage, which knows nothing of worlds.
ALLOWED = {("worlds", "stages")}


def files(*patterns):
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def includes(path):
    return INCLUDE.findall(path.read_text())


@pytest.mark.parametrize("path", files("kernels/**/*.h", "kernels/**/*.cpp"), ids=lambda p: p.name)
def test_kernels_know_neither_torch_nor_python_nor_containers(path):
    allowed = re.compile(r"kernels/|math\.h|cstdint|cstddef|stdint\.h|immintrin\.h|atomic")
    assert [name for name in includes(path) if not allowed.match(name)] == []


@pytest.mark.parametrize("path", files("csrc/rewards/**/*.*"), ids=lambda p: p.name)
def test_rewards_need_only_the_standard_library_and_boost(path):
    banned = re.compile(r"ATen|torch|c10|pybind11|Python|csrc/(?!rewards/)|kernels/")
    assert [name for name in includes(path) if banned.match(name)] == []


@pytest.mark.parametrize(
    "path", files("csrc/*.h", "csrc/*.cpp", "csrc/engine/*"), ids=lambda p: p.name
)
def test_ops_know_nothing_of_bindings_or_python(path):
    banned = re.compile(r"csrc/bindings|pybind11|Python|torch/csrc|c10/cuda")
    assert [name for name in includes(path) if banned.match(name)] == []


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "r1core":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("r1core."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("path", files("python/r1core/**/*.py"), ids=lambda p: p.name)
def test_python_modules_import_only_from_layers_below(path):
    order = {name: level for level, names in enumerate(LAYERS) for name in names}
    module = path.relative_to(ROOT / "python/r1core").parts[0].removesuffix(".py")
    if module == "__init__":
        return
    assert module in order, f"give {module} a layer"
    upward = {
        name
        for name in imported_modules(path)
        if order.get(name, 0) > order[module] and (module, name) not in ALLOWED
    }
    assert not upward

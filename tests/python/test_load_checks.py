"""What a model is loaded with is checked in one line, before transformers and torch see it."""

import pytest
import torch
from models import qwen2_policy

from r1core.load_checks import check_device
from r1core.pipeline import run_recipe
from r1core.plan.shape import checkpoint_shape
from r1core.policy import Policy
from r1core.recipe import load_recipe
from r1core.reward_model import RewardModel


@pytest.fixture
def model(tmp_path):
    qwen2_policy().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_a_dtype_is_named_or_torchs_own(model, dtype):
    assert Policy.from_pretrained(model, dtype=dtype).model.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", ["float16", torch.float16, "nn", "bf16"])
def test_other_dtypes_are_refused(model, dtype):
    with pytest.raises(ValueError, match=f"dtype must be float32 or bfloat16; got .*{dtype}"):
        Policy.from_pretrained(model, dtype=dtype)


ABSENT = ["cuda", "cuda:1", "gpu", "mps", torch.device("cuda")]


@pytest.mark.parametrize("device", ABSENT, ids="on {}".format)  # "cuda" is the mark of GPU tests
def test_a_device_that_is_not_here_is_one_line(model, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    message = f"model.device must be cpu here, where torch.* sees no GPU; got '{device}'"
    with pytest.raises(ValueError, match=message):
        Policy.from_pretrained(model, device=device)


def test_the_gpus_that_are_here_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert check_device("cuda:1") == torch.device("cuda:1") and check_device("cpu").type == "cpu"
    message = "model.device must be cpu, cuda, cuda:0, cuda:1; got 'cuda:2'"
    with pytest.raises(ValueError, match=message):
        check_device("cuda:2")


def test_the_device_of_a_later_stages_model_is_checked_before_the_first(tmp_path, model):
    other = 'models={other={path="x", device="gpu"}}'
    recipe = load_recipe("gsm8k_zero", [other], model=str(model))
    with pytest.raises(ValueError, match="model.device must be .*; got 'gpu'"):
        run_recipe(recipe, tmp_path / "run")


@pytest.mark.parametrize("load", [Policy.from_pretrained, RewardModel.from_pretrained])
@pytest.mark.parametrize("path", ["./nodir", "../nodir", "/nodir", "~/nodir", "a/b/c", "nodir/"])
def test_a_path_to_nothing_is_no_hub_name(load, path):
    with pytest.raises(ValueError, match=f"from {path}: no such directory"):
        load(path)


def test_a_plan_and_a_file_are_told_the_same_way(model):
    with pytest.raises(ValueError, match="a causal LM from ./nodir: no such directory"):
        checkpoint_shape("./nodir")
    with pytest.raises(ValueError, match="config.json: it is a file, not a directory"):
        Policy.from_pretrained(model / "config.json")


def test_a_hub_name_is_asked_for_on_the_hub():
    with pytest.raises(ValueError, match="cannot load a causal LM from owner/name: (?!no such)"):
        Policy.from_pretrained("owner/name")

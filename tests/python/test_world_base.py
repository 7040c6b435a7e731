"""The base of a world: its cache and its gate."""

import multiprocessing
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1core.stages.pretrain import PretrainConfig
from r1core.worlds import base, load_world
from r1core.worlds.gate import ForcedThinking

UNTRAINED = PretrainConfig(steps=2, max_steps=2, gate_after=1, gate_every=1, gate_threshold=0.0)


# Base and its cache -------------------------------------------------------------------------------


def build(cache, seed=0, steps=None):
    world = load_world("sum_chain", seed=seed)
    return base.base_directory(world, config=UNTRAINED, cache_dir=cache, on_progress=steps)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    path = tmp_path_factory.mktemp("cache")
    build(path)
    return path


def weights(directory):
    """Read a base's weights into memory of their own: loaded ones may be a view of the file."""
    state = AutoModelForCausalLM.from_pretrained(str(directory)).state_dict()
    return {name: tensor.clone() for name, tensor in state.items()}


def test_base_is_an_ordinary_hugging_face_directory(cache):
    directory = build(cache)
    model = AutoModelForCausalLM.from_pretrained(str(directory))
    assert model.config.model_type == "qwen3"
    assert 0.55e6 < sum(p.numel() for p in model.parameters()) < 0.65e6
    assert model.generation_config.eos_token_id == [2]
    assert AutoTokenizer.from_pretrained(str(directory)).vocab_size == model.config.vocab_size


def test_base_is_trained_once_for_each_setting(cache):
    steps = []
    directory = build(cache, steps=steps.append)
    assert steps == []
    assert build(cache, seed=1, steps=steps.append) != directory
    assert [stats.step for stats in steps] == [1]


def test_base_follows_the_cache_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("R1CORE_CACHE", str(tmp_path))
    assert base.default_cache_dir() == tmp_path
    monkeypatch.delenv("R1CORE_CACHE")
    assert base.default_cache_dir().parts[-2:] == (".cache", "r1core")


@pytest.mark.parametrize("damage", ["truncate", "delete", "flip"])
def test_damaged_base_is_rebuilt_with_equal_bits(cache, tmp_path, damage):
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    directory = tmp_path / "worlds" / build(cache).name
    expected = weights(directory)
    file = directory / "model.safetensors"
    content = file.read_bytes()
    if damage == "delete":
        file.unlink()
    else:
        file.write_bytes(content[:-10] if damage == "truncate" else content[:-1] + b"\x7f")
    steps = []
    assert build(tmp_path, steps=steps.append) == directory
    assert len(steps) == 1
    actual = weights(directory)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_interrupted_build_leaves_nothing_behind(tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, steps=interrupt)
    assert [path for path in (tmp_path / "worlds").iterdir() if path.suffix != ".lock"] == []


def _build_in_process(cache, trained):
    build(cache, steps=lambda _: trained.put(1))


def test_two_processes_build_a_base_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    trained = context.Queue()
    processes = [
        context.Process(target=_build_in_process, args=(tmp_path, trained)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert trained.get(timeout=5) == 1 and trained.empty()


# Gate ---------------------------------------------------------------------------------------------


def test_gate_agrees_with_greedy_decoding(cache):
    """One forward pass and token-by-token decoding give the same verdict on every question."""
    directory = build(cache)
    model = AutoModelForCausalLM.from_pretrained(str(directory)).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(directory))
    world = load_world("sum_chain")
    gate = ForcedThinking(world, tokenizer, count=16)
    assert gate(model) == 0.0
    # Teach it one question by heart, so that both verdicts occur.
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        logits = model(gate.tokens_BT[:1]).logits[0]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, gate.targets_BT[0]).backward()
        optimizer.step()
    rows = world.problems("train", 1 << 30, 16)
    right = 0
    for row in rows:
        given = tokenizer(row["prompt"] + world.cue, return_tensors="pt")
        written = model.generate(**given, max_new_tokens=48, do_sample=False)
        right += tokenizer.decode(written[0]) == row["text"] + "</s>"
    assert right >= 1
    assert gate(model) == right / 16

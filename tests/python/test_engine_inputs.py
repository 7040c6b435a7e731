"""What the engine rejects: inputs that the model cannot read, and models outside its table."""

import pytest
import torch
from engine_cases import BASE, PROMPTS, V, build, generate
from transformers import GPT2Config, LlamaConfig

from r1core.engine import Engine


@pytest.fixture(scope="module")
def engine():
    return Engine(build("qwen3"))


def test_prompts_beyond_the_context_are_rejected(engine):
    prompts = [*PROMPTS[:2], torch.zeros(500, dtype=torch.int64)]
    with pytest.raises(ValueError, match=r"context of 512 tokens; prompts\[2\] has 500 and 20"):
        generate(engine, prompts)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (torch.tensor([], dtype=torch.int64), r"at least one id; prompts\[0\]"),
        (torch.tensor([5, V]), rf"ids in \[0, {V}\); prompts\[0\] has {V}"),
        (torch.tensor([-1]), r"prompts\[0\] has -1"),
        (torch.tensor([0.5]), r"contiguous int64"),
    ],
)
def test_prompts_that_are_no_ids_are_rejected(engine, prompt, message):
    with pytest.raises(ValueError, match=message):
        generate(engine, [prompt], uids=[0])


def test_prompt_lengths_outside_the_sequence_are_rejected(engine):
    with pytest.raises(ValueError, match=r"prompt_lengths\[0\] must be in \[1, 5\]; got 0"):
        engine.logprobs(PROMPTS[:1], [0])
    logprobs, _ = engine.logprobs(PROMPTS[:1], [5])[0]  # nothing to score
    assert logprobs.shape == (0,)


def test_one_seed_and_one_counter_per_prompt(engine):
    with pytest.raises(ValueError, match="seeds must have one per prompt, 3; got 1"):
        generate(engine, seeds=[1])
    with pytest.raises(ValueError, match="uids must have one per prompt, 3; got 2"):
        generate(engine, uids=[1, 2])


def test_no_prompts_give_no_rows(engine):
    assert generate(engine, [], uids=[]).tokens_NT.shape == (0, 0)


def hooked(model):
    model.model.norm.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: build(GPT2Config(vocab_size=V, n_embd=32, n_layer=1, n_head=4)), "model_type"),
        (lambda: build(LlamaConfig(**BASE, hidden_act="gelu")), "hidden_act is gelu"),
        (
            lambda: build(
                LlamaConfig(
                    **BASE,
                    rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0},
                )
            ),
            "rope_type is yarn",
        ),
        (lambda: build("qwen3", torch.float16), "float16"),
        (lambda: hooked(build("qwen3")), "forward hook"),
    ],
    ids=["gpt2", "gelu", "yarn", "float16", "hook"],
)
def test_models_outside_the_table_are_named(model, reason):
    model = model()
    assert reason in Engine.supports(model)
    with pytest.raises(ValueError, match=reason):
        Engine(model)

"""Supervised fine-tuning: what is learned, from which data, and that packing changes nothing."""

import json
import sys

import pytest
import torch
from models import qwen3_policy, qwen_tokenizer
from torch.nn import functional as F

from r1core.data import DataSpec, Example, load_examples
from r1core.policy import Policy
from r1core.stages.examples import as_rollouts
from r1core.stages.sft import SFTConfig, SFTState, evaluation_loss, sft

EXAMPLES = [
    Example([1, 2, 3], [4, 5, 0]),
    Example([6], [7, 0]),
    Example([2, 9, 4, 4], [8]),
    Example([5, 5], [1, 2, 3, 4, 0]),
]


def config(**changes):
    settings = {"epochs": 2, "batch_size": 2, "optimizer": {"lr": 3e-3, "schedule": "cosine"}}
    return SFTConfig(**(settings | changes))


def reference_loss(policy, examples):
    """Each example alone, unpacked, by torch's cross-entropy."""
    total = count = 0
    for example in examples:
        ids = torch.tensor([example.prompt + example.completion])
        logits = policy.model(input_ids=ids).logits[0, len(example.prompt) - 1 : -1]
        target = torch.tensor(example.completion)
        total = total + F.cross_entropy(logits, target, reduction="sum")
        count += len(example.completion)
    return total / count


@pytest.mark.parametrize("budget", [1, 16, 16_384])
def test_loss_and_gradient_are_those_of_each_example_alone(budget):
    policy, other = qwen3_policy(), qwen3_policy()
    expected = reference_loss(other, EXAMPLES)
    expected.backward()
    settings = config(batch_size=4, epochs=1, tokens_per_micro_batch=budget)
    state = SFTState(policy, settings, 4)
    grads = {}
    state.optimizer.register_step_pre_hook(
        lambda *_: grads.update({n: p.grad.clone() for n, p in policy.model.named_parameters()})
    )
    (stats,) = sft(policy, EXAMPLES, settings, state=state)
    assert stats.metrics["loss"] == pytest.approx(expected.item(), rel=1e-5)
    norm = torch.stack([p.grad.norm() for p in other.parameters()]).norm()
    assert stats.metrics["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
    for name, parameter in other.model.named_parameters():
        scale = min(1.0, 1.0 / norm.item())  # clipped to 1
        assert torch.allclose(grads[name], parameter.grad * scale, atol=1e-5), name


def test_prompts_are_not_learned():
    first, second = qwen3_policy(), qwen3_policy()
    a = evaluation_loss(first, [Example([1, 2, 3], [4])], config())
    logprobs, _ = second.logprobs(as_rollouts([Example([1, 2, 3], [4])]))
    assert a == pytest.approx(-logprobs.item(), rel=1e-6)


def test_training_lowers_the_loss_and_yields_every_step():
    policy = qwen3_policy()
    before = evaluation_loss(policy, EXAMPLES, config())
    steps = list(sft(policy, EXAMPLES, config(epochs=20)))
    assert [stats.step for stats in steps] == list(range(1, 41))
    assert steps[-1].metrics["epoch"] == 20
    assert evaluation_loss(policy, EXAMPLES, config()) < before / 2
    assert steps[0].metrics["learning_rate"] > steps[-1].metrics["learning_rate"]


def test_a_stage_goes_on_bit_for_bit():
    whole, settings = qwen3_policy(), config(epochs=3, batch_size=3)
    list(sft(whole, EXAMPLES, settings, seed=7))
    policy = qwen3_policy()
    state = SFTState(policy, settings, len(EXAMPLES))
    steps = sft(policy, EXAMPLES, settings, seed=7, state=state)
    next(steps), next(steps)
    kept, weights = state.state_dict(), {k: v.clone() for k, v in policy.state_dict().items()}
    resumed = qwen3_policy()
    resumed.load_state_dict(weights)
    later = SFTState(resumed, settings, len(EXAMPLES))
    later.load_state_dict(kept)
    assert [s.step for s in sft(resumed, EXAMPLES, settings, seed=7, state=later)] == [3, 4]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_every_example_is_seen_once_per_epoch(monkeypatch):
    seen = []
    module = sys.modules["r1core.stages.sft"]  # the package's attribute is the function
    real = module.as_rollouts
    monkeypatch.setattr(module, "as_rollouts", lambda xs: seen.extend(xs) or real(xs))
    list(sft(qwen3_policy(), EXAMPLES, config(epochs=2, batch_size=3)))
    assert len(seen) == 8
    for example in EXAMPLES:
        assert seen[:4].count(example) == seen[4:].count(example) == 1


def test_no_examples_is_an_error():
    with pytest.raises(ValueError, match="examples must hold at least one; got none"):
        list(sft(qwen3_policy(), [], config()))


# Data ---------------------------------------------------------------------------------------------


@pytest.fixture
def chat_policy():
    tokenizer = qwen_tokenizer()
    from transformers import Qwen2Config

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    return Policy.from_config(Qwen2Config(vocab_size=len(tokenizer), **sizes, **heads), tokenizer)


def write(tmp_path, rows):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_prompt_and_completion_are_encoded_apart_and_end_with_the_stop_token(chat_policy, tmp_path):
    spec = DataSpec(path=write(tmp_path, [{"prompt": "1 + 1 =", "completion": " 2"}]))
    (example,), dropped = load_examples(spec, chat_policy)
    tokenizer = chat_policy.tokenizer
    assert example.prompt == tokenizer("1 + 1 =")["input_ids"]
    assert example.completion == [*tokenizer(" 2")["input_ids"], tokenizer.eos_token_id]
    assert dropped == 0


def test_a_template_wraps_the_prompt(chat_policy, tmp_path):
    spec = DataSpec(path=write(tmp_path, [{"prompt": "1?", "completion": "2"}]), template="chat")
    (example,), _ = load_examples(spec, chat_policy)
    text = chat_policy.tokenizer.decode(example.prompt)
    assert text == "<|im_start|>user\n1?<|im_end|>\n<|im_start|>assistant\n"


def test_every_assistant_turn_of_messages_is_an_example(chat_policy, tmp_path):
    roles = ["system", "user", "assistant", "user", "assistant"]
    messages = [{"role": role, "content": f"text {k}"} for k, role in enumerate(roles)]
    found, _ = load_examples(DataSpec(path=write(tmp_path, [{"messages": messages}])), chat_policy)
    decode = chat_policy.tokenizer.decode
    assert [decode(x.completion) for x in found] == ["text 2<|im_end|>", "text 4<|im_end|>"]
    assert "text 2" not in decode(found[0].prompt)
    assert "text 2" in decode(found[1].prompt)


def test_what_is_too_long_is_left_out_and_counted(chat_policy, tmp_path):
    rows = [{"prompt": "1", "completion": "2"}, {"prompt": "1 " * 50, "completion": "2"}]
    found, dropped = load_examples(DataSpec(path=write(tmp_path, rows)), chat_policy, max_length=20)
    assert (len(found), dropped) == (1, 1)


def test_a_row_without_a_completion_is_named(chat_policy, tmp_path):
    path = write(tmp_path, [{"prompt": "1", "completion": "2"}, {"prompt": "1", "answer": "2"}])
    with pytest.raises(ValueError, match=r"'prompt' and 'completion', or messages; row 1 of .*"):
        load_examples(DataSpec(path=path), chat_policy)

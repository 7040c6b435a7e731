"""The `pretrain` stage and the packing of documents."""

import dataclasses
import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM

from r1core.stages.packing import IGNORE, pack
from r1core.stages.pretrain import (
    PretrainConfig,
    document_loss,
    learning_rate,
    native_document_loss,
    pretrain,
)

SIZES = {
    "vocab_size": 32,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 3,
}


def qwen3(attention="sdpa", seed=0):
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(Qwen3Config(head_dim=16, attn_implementation=attention, **SIZES))


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def gpt2():
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=32,
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=2,
        bos_token_id=None,
        eos_token_id=2,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
    )
    return GPT2LMHeadModel(config)


def counting_documents(count=10_000):
    """Each document counts up from a start, so the next token is easily told."""
    for number in range(count):
        start, length = 4 + number * 7 % 20, 2 + number * 5 % 9
        yield [4 + (start + k) % 28 for k in range(length)] + [2]


SMALL = PretrainConfig(steps=40, max_steps=40, rows=4, row_length=24, warmup_steps=5)


# Packing ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), max_size=40),
    rows=st.integers(1, 4),
)
def test_pack_keeps_every_document_whole(documents, rows):
    found = []
    for batch in pack(documents, rows=rows, row_length=9):
        laid = batch.rows()
        assert laid.tokens_BT.shape == (rows, 9)
        for tokens, positions in zip(laid.tokens_BT, laid.positions_BT, strict=True):
            for token, position in zip(tokens.tolist(), positions.tolist(), strict=True):
                if token == 0:  # documents hold no 0: nothing lies here
                    continue
                if position == 0:
                    found.append([])
                found[-1].append(token)
        assert batch.num_tokens == int((laid.labels_BT != IGNORE).sum())
    assert sorted(found) == sorted(documents)


def test_pack_wastes_little():
    *full, _ = pack(counting_documents(3000), rows=32, row_length=64)  # the last one is part full
    tokens = [batch.rows().tokens_BT for batch in full]
    filled = sum(int((tokens_BT != 0).sum()) for tokens_BT in tokens)
    assert filled > 0.95 * sum(tokens_BT.numel() for tokens_BT in tokens)


def test_pack_rejects_a_document_longer_than_a_row():
    with pytest.raises(ValueError, match=r"pack: documents must have at most 4 tokens .*; got 5"):
        list(pack([[1, 2, 3], [1, 2, 3, 4, 5]], rows=2, row_length=4))
    with pytest.raises(ValueError, match="pack: documents must have at least 1 token; got an emp"):
        list(pack([[1, 2, 3], []], rows=2, row_length=4))


@pytest.mark.parametrize(
    "make", [qwen3, lambda: qwen3("eager"), llama, gpt2], ids=["qwen3", "eager", "llama", "gpt2"]
)
def test_document_loss_is_that_of_each_document_alone(make):
    model, documents = make().eval(), list(counting_documents(12))
    (batch,) = pack(documents, rows=4, row_length=32)
    total = sum(
        F.cross_entropy(
            model(torch.tensor([ids[:-1]])).logits[0], torch.tensor(ids[1:]), reduction="sum"
        )
        for ids in documents
    )
    expected = total / sum(len(ids) - 1 for ids in documents)
    torch.testing.assert_close(document_loss(model, batch), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [qwen3, llama], ids=["qwen3", "llama"])
def test_our_own_forward_has_the_same_loss_and_gradient(make):
    model, documents = make(), [[5], *counting_documents(12), [7]]
    (batch,) = pack(documents, rows=4, row_length=32)
    losses, gradients = [], []
    for loss_of in (native_document_loss, document_loss):
        model.zero_grad()
        losses.append(loss_of(model, batch))
        losses[-1].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[1].norm()


@pytest.mark.parametrize("loss_of", [native_document_loss, document_loss])
def test_nothing_is_scored_in_documents_of_one_token(loss_of):
    (batch,) = pack([[5], [6]], rows=1, row_length=4)
    loss = loss_of(qwen3(), batch)
    loss.backward()
    assert loss == 0


# Stage --------------------------------------------------------------------------------------------


def test_pretrain_lowers_the_loss():
    stats = list(pretrain(qwen3(), counting_documents(), SMALL))
    assert [s.step for s in stats] == list(range(1, 41))
    assert stats[-1].metrics["loss"] < 0.8 * stats[0].metrics["loss"]
    tokens = [s.metrics["num_tokens"] for s in stats]
    assert tokens == sorted(tokens) and tokens[0] > 50


def test_pretrain_gives_equal_bits_twice():
    first, second = qwen3(), qwen3()
    losses = [
        [s.metrics["loss"] for s in pretrain(model, counting_documents(), SMALL)]
        for model in (first, second)
    ]
    assert losses[0] == losses[1]
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("threads", [1, 3])
def test_our_own_forward_gives_the_bits_of_any_number_of_threads(threads):
    losses = []
    for count in (2, threads):
        torch.set_num_threads(count)
        losses.append([s.metrics["loss"] for s in pretrain(qwen3(), counting_documents(), SMALL)])
    assert losses[0] == losses[1]


def test_both_forwards_learn_alike_and_the_setting_chooses(monkeypatch):
    def curve(model, kind):
        config = dataclasses.replace(SMALL, forward=kind)
        return [s.metrics["loss"] for s in pretrain(model, counting_documents(), config)]

    stage = importlib.import_module("r1core.stages.pretrain")
    native, module = curve(qwen3(), "native"), curve(qwen3(), "hf")
    assert native == pytest.approx(module, rel=1e-3) and native != module
    monkeypatch.setattr(stage, "document_loss", None)  # the module's own
    assert curve(qwen3(), "auto") == native
    with pytest.raises(ValueError, match='"native" needs a model of the engine\'s table'):
        curve(gpt2(), "native")


def test_pretrain_stops_when_the_gate_holds():
    config = PretrainConfig(
        steps=40, max_steps=40, rows=4, row_length=24, gate_after=10, gate_every=5
    )
    answers = iter([0.2, 0.5, 0.95, 1.0])
    stats = list(pretrain(qwen3(), counting_documents(), config, gate=lambda _: next(answers)))
    measured = {
        s.step: s.metrics["forced_accuracy"] for s in stats if s.step % 5 == 0 and s.step >= 10
    }
    assert measured == {10: 0.2, 15: 0.5, 20: 0.95}
    assert stats[-1].step == 20


def test_pretrain_says_so_when_the_gate_never_holds():
    config = PretrainConfig(steps=6, max_steps=8, rows=2, row_length=16, gate_after=1, gate_every=4)
    with pytest.raises(RuntimeError, match=r"the gate must reach 0\.9 within 8 steps; got 0\.25"):
        list(pretrain(qwen3(), counting_documents(), config, gate=lambda _: 0.25))


def test_learning_rate_warms_up_falls_and_stays():
    config = PretrainConfig(steps=100, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1)
    rates = [learning_rate(config, step) for step in range(1, 150)]
    assert rates[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert rates[10:100] == sorted(rates[10:100], reverse=True)
    assert rates[99:] == pytest.approx([0.1] * 50)

"""Whether a model's logits are what its head makes of hidden states, as the model itself shows."""

import pytest
import torch
from hf_families import MORE, PLAIN, family
from torch import nn

from r1core import lora
from r1core.hf_head import head_input, head_reason

IDS = torch.arange(5, 11)[None]


@pytest.mark.parametrize("name", PLAIN)
def test_the_logits_of_most_families_are_their_heads(name):
    model = family(name).model
    assert head_reason(model) is None
    head = model.get_output_embeddings()
    with torch.no_grad():
        hidden = head_input(model, input_ids=IDS)
        expected = model(input_ids=IDS, use_cache=False).logits
    assert torch.equal(nn.functional.linear(hidden, head.weight, head.bias), expected)
    assert hidden.shape == (1, 6, head.in_features)


@pytest.mark.parametrize("name", MORE)
def test_the_others_say_so_themselves(name):
    assert head_reason(family(name).model) == "the model does more to logits than its head does"


def test_a_head_that_is_more_than_a_matrix_is_not_taken():
    adapted = family("qwen3")
    lora.add_lora(adapted, lora.LoraSettings(r=2, target_modules=["lm_head"]))
    assert head_reason(adapted.model) == "the head is a Linear, not a Linear of torch"
    for module in ("lm_head", ""):
        model = family("qwen3").model
        handle = model.get_submodule(module).register_forward_hook(lambda *_: None)
        assert "has a hook" in head_reason(model)
        handle.remove()
        assert head_reason(model) is None
    model.lm_head.forward = model.lm_head.forward
    assert head_reason(model) == "the head has a replaced forward"
    assert "float64" in head_reason(family("qwen3").model.double())


def test_the_head_is_as_it_was_also_after_an_error():
    model = family("qwen3").model
    with pytest.raises(IndexError):
        head_input(model, input_ids=torch.tensor([[1000]]))
    assert "forward" not in vars(model.lm_head)
    assert model(input_ids=IDS).logits.shape == (1, 6, 97)


def test_a_model_that_changes_its_logits_later_is_an_error():
    model = family("gemma3").model
    assert head_reason(model) is None
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(RuntimeError, match="Gemma3ForCausalLM must return what its head does"):
        head_input(model, input_ids=IDS)

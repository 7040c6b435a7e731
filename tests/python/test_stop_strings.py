"""Stop strings end a completion where its text first holds one, and decoding with it."""

import pytest
import torch
from models import llama_policy, llama_tokenizer, qwen2_policy
from transformers import GPT2Config

from r1core.policy import Policy
from r1core.sampling import sample_groups
from r1core.stop_strings import StopStrings
from r1core.types import SamplingParams

PROMPTS = ["Natalia sold", "<think>"]


def gpt2_with_text():
    """Return a policy that only its own forward can sample from."""
    tokenizer = llama_tokenizer()
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=4, n_positions=64)
    return Policy.from_config(config, tokenizer)


def first_length(policy, ids, strings):
    """Return how many tokens it takes until the text holds a string, by trying each."""
    for length in range(1, len(ids) + 1):
        if any(string in policy.tokenizer.decode(ids[:length]) for string in strings):
            return length
    return None


@pytest.mark.parametrize("build", [llama_policy, qwen2_policy, gpt2_with_text])
@pytest.mark.parametrize("strings", [("e",), ("s", "\u4e00"), ("an", "th ")])
def test_completions_are_cut_where_the_text_first_holds_a_string(build, strings):
    policy = build()
    params = SamplingParams(n=64, max_new_tokens=24, stop_token_ids=())
    whole = sample_groups(policy, PROMPTS, params)
    cut = sample_groups(
        policy, PROMPTS, SamplingParams(n=64, max_new_tokens=24, stop_token_ids=(), stop=strings)
    )
    reasons = set()
    for n, ids in enumerate(whole.completion_ids()):
        length = first_length(policy, ids, strings)
        assert cut.completion_ids()[n] == ids[:length]
        assert cut.finish_reasons[n] == ("length" if length is None else "stop")
        assert torch.equal(cut.logprobs_NT[n, :length], whole.logprobs_NT[n, : length or 24])
        reasons.add(cut.finish_reasons[n])
    assert reasons == {"stop", "length"}


@pytest.mark.parametrize("build", [llama_policy, gpt2_with_text])
def test_decoding_goes_on_no_further_than_the_string(build):
    policy = build()
    drawn = []
    params = SamplingParams(n=32, max_new_tokens=48, stop_token_ids=(), stop=(" ", "e"))
    cut = sample_groups(policy, PROMPTS[:1], params, lambda tokens, _: drawn.append(tokens))
    assert drawn[-1] == int(cut.lengths_N.sum()) < 32 * 48


def test_only_tokens_that_may_complete_a_string_are_looked_at():
    tokenizer = llama_tokenizer()
    may_end = StopStrings(tokenizer, ["once", "<answer>"]).may_end(len(tokenizer))
    for i, wanted in enumerate(may_end.tolist()):
        piece = tokenizer.decode([i])
        assert wanted == any(character in piece for character in ("e", ">", "\ufffd"))


def test_an_empty_string_is_rejected():
    with pytest.raises(ValueError, match="strings must not be empty; got ''"):
        StopStrings(llama_tokenizer(), ["x", ""])


def test_one_seed_per_prompt():
    policy = llama_policy()
    params = SamplingParams(n=2, max_new_tokens=8, seed=5)
    with pytest.raises(ValueError, match="seeds must have one per prompt, 2; got 1"):
        sample_groups(policy, PROMPTS, params, seeds=[1])


@pytest.mark.parametrize("build", [llama_policy, gpt2_with_text])
def test_a_prompt_with_its_own_seed_draws_what_it_draws_alone(build):
    policy = build()
    params = SamplingParams(n=3, max_new_tokens=8, seed=5, stop_token_ids=())
    other = SamplingParams(n=3, max_new_tokens=8, seed=6, stop_token_ids=())
    both = sample_groups(policy, PROMPTS, params, seeds=[6, 5]).completion_ids()
    assert both[:3] == sample_groups(policy, PROMPTS, other).completion_ids()[:3]
    assert both[3:] == sample_groups(policy, PROMPTS, params).completion_ids()[3:]

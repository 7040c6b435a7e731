import pytest
import torch
from models import CHATML, gpt2_policy, llama_policy, qwen2_policy, qwen3_policy
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config

from r1core.policy import Policy
from r1core.sampling import sample_groups
from r1core.types import SamplingParams

POLICIES = [qwen2_policy, llama_policy, qwen3_policy, gpt2_policy]
MESSAGES = [{"role": "user", "content": "What is 48 + 24?"}]


def rollouts_of(policy, temperature=1.0, n=3):
    prompts = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16, 17]]
    stops = (3, 20, 30, 40, 50)  # so that lengths differ
    return sample_groups(
        policy,
        prompts,
        SamplingParams(n=n, max_new_tokens=12, temperature=temperature, stop_token_ids=stops),
    )


@pytest.mark.parametrize("build", POLICIES)
def test_logprobs_match_the_models_own_logits_row_by_row(build):
    policy = build()
    rollouts = rollouts_of(policy, temperature=0.7)
    logprobs_NT, entropies_NT = policy.logprobs(rollouts)
    for n, ids in enumerate(rollouts.completion_ids()):
        prompt = rollouts.prompt_tokens[n // 3]
        tokens = torch.cat([prompt, torch.tensor(ids)])[None]
        logits = policy.model(tokens).logits[0, len(prompt) - 1 : -1] / 0.7
        expected = logits.log_softmax(-1)
        chosen = expected.gather(-1, torch.tensor(ids)[:, None]).squeeze(-1)
        torch.testing.assert_close(logprobs_NT[n, : len(ids)], chosen, rtol=1e-5, atol=1e-5)
        entropy = -(expected.exp() * expected).sum(-1)
        torch.testing.assert_close(entropies_NT[n, : len(ids)], entropy, rtol=1e-5, atol=1e-5)
        assert logprobs_NT[n, len(ids) :].count_nonzero() == 0


@pytest.mark.parametrize("build", POLICIES)
def test_logprobs_agree_with_the_sampler(build):
    rollouts = rollouts_of(policy := build())
    logprobs_NT, entropies_NT = policy.logprobs(rollouts)
    torch.testing.assert_close(logprobs_NT, rollouts.logprobs_NT, rtol=0, atol=1e-5)
    torch.testing.assert_close(entropies_NT, rollouts.entropies_NT, rtol=0, atol=1e-5)


def test_logprobs_do_not_depend_on_the_rows_around():
    policy = qwen2_policy()
    rollouts = rollouts_of(policy)
    whole, _ = policy.logprobs(rollouts)
    part, _ = policy.logprobs(rollouts.rows(torch.tensor([7, 2])))
    torch.testing.assert_close(part, whole[[7, 2], : part.shape[1]], rtol=0, atol=1e-5)


def test_logprobs_reach_every_parameter():
    policy = qwen2_policy(tie_word_embeddings=False)
    policy.logprobs(rollouts_of(policy))[0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in policy.parameters())


def test_text_is_encoded_as_transformers_does():
    for policy in (qwen2_policy(), llama_policy()):
        text = "Natalia sold 48 clips."
        assert policy.encode([text])[0].tolist() == policy.tokenizer(text)["input_ids"]


def test_a_bos_in_the_text_is_not_doubled():
    policy = llama_policy()
    [tokens] = policy.encode(["<|begin_of_text|>Natalia"])
    assert tokens.tolist().count(0) == 1
    assert tokens.tolist() == policy.encode(["Natalia"])[0].tolist()


def test_messages_go_through_the_chat_template_once():
    policy = qwen2_policy()
    [tokens] = policy.encode([MESSAGES])
    text = "<|im_start|>user\nWhat is 48 + 24?<|im_end|>\n<|im_start|>assistant\n"
    assert policy.tokenizer.decode(tokens) == text
    assert tokens.tolist() == policy.tokenizer.apply_chat_template(
        MESSAGES, add_generation_prompt=True, tokenize=True, return_dict=False
    )


def test_token_ids_are_used_as_they_are():
    assert qwen3_policy().encode([[3, 1, 2]])[0].tolist() == [3, 1, 2]


def test_messages_without_a_template_say_what_to_do():
    with pytest.raises(ValueError, match='no(ne|) .*template = "r1_zero"|has none; use a model'):
        llama_policy().encode([MESSAGES])


def test_text_without_a_tokenizer_is_an_error():
    with pytest.raises(ValueError, match="a prompt of text needs a tokenizer"):
        qwen3_policy().encode(["hello"])


def test_an_empty_prompt_is_an_error():
    with pytest.raises(ValueError, match="prompts must not be empty; prompt 1 is"):
        qwen3_policy().encode([[1], []])


def test_stops_are_the_generation_configs_and_the_tokenizers():
    assert qwen2_policy().stop_token_ids() == (2, 0)  # the tokenizer's is among them
    assert llama_policy().stop_token_ids() == (1,)


def test_a_think_tag_opened_by_the_template_is_known():
    policy = qwen2_policy()
    assert policy.completion_prefix(MESSAGES) == ""
    policy.tokenizer.chat_template = CHATML.replace(
        "assistant\n{% endif", "assistant\n<think>\n{% endif"
    )
    assert policy.completion_prefix(MESSAGES) == "<think>\n"
    assert policy.completion_prefix("text") == ""


def test_a_tokenizer_that_does_not_fit_is_an_error():
    with pytest.raises(
        ValueError, match="tokenizer must fit the model; it has .* embedding 64 rows"
    ):
        Policy.from_config(
            GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=4), qwen2_policy().tokenizer
        )


def test_a_missing_model_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="cannot load a causal LM from .*nowhere") as error:
        Policy.from_pretrained(tmp_path / "nowhere")
    assert "\n" not in str(error.value)


def test_a_model_without_a_tokenizer_is_one_line(tmp_path):
    qwen3_policy().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="cannot load a tokenizer") as error:
        Policy.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("build", [qwen2_policy, llama_policy])
def test_a_saved_policy_is_an_ordinary_directory(build, tmp_path):
    policy = build()
    policy.save_pretrained(tmp_path)
    again = Policy.from_pretrained(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    for mine, ours, theirs in zip(
        policy.parameters(), again.parameters(), plain.parameters(), strict=True
    ):
        assert torch.equal(mine, ours) and torch.equal(mine, theirs)
    assert again.stop_token_ids() == policy.stop_token_ids()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("48 clips")["input_ids"] == policy.encode(["48 clips"])[0].tolist()


def test_a_frozen_copy_keeps_its_weights_until_told():
    policy = qwen3_policy()
    reference = policy.frozen_copy()
    with torch.no_grad():
        next(policy.parameters()).add_(1)
    mine, frozen = next(policy.parameters()), next(reference.parameters())
    assert not torch.equal(mine, frozen) and not frozen.requires_grad and mine.requires_grad
    reference.load_from(policy)
    assert torch.equal(mine, frozen)


def test_from_config_is_seeded_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    one, two = qwen3_policy(), qwen3_policy()
    assert all(map(torch.equal, one.parameters(), two.parameters()))
    assert torch.equal(state, torch.get_rng_state())

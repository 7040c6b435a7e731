import pytest
import torch
from models import gpt2_policy, llama_policy, qwen2_policy, qwen3_policy
from scipy.stats import chisquare

from r1core.sampling import sample_groups
from r1core.types import Rollouts, SamplingParams

POLICIES = [qwen2_policy, llama_policy, qwen3_policy, gpt2_policy]
PROMPTS = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16, 17]]
PARAMS = SamplingParams(n=4, max_new_tokens=10, stop_token_ids=(3, 20, 30))


def completions(rollouts: Rollouts):
    return {
        (p, g): ids
        for (p, g), ids in zip(
            ((p, g) for p in rollouts.prompt_uids for g in range(rollouts.group_size)),
            rollouts.completion_ids(),
            strict=True,
        )
    }


@pytest.mark.parametrize("build", POLICIES)
def test_the_same_seed_gives_the_same_completions_in_any_batch(build):
    policy = build()
    together = completions(sample_groups(policy, PROMPTS, PARAMS))
    again = completions(sample_groups(policy, PROMPTS, PARAMS))
    turned = sample_groups(policy, PROMPTS[::-1], PARAMS, prompt_uids=[2, 1, 0])
    alone = {}
    for uid, prompt in enumerate(PROMPTS):
        alone |= completions(sample_groups(policy, [prompt], PARAMS, prompt_uids=[uid]))
    assert together == again == completions(turned) == alone


@pytest.mark.parametrize("build", POLICIES)
def test_another_seed_uid_or_sample_gives_other_completions(build):
    policy = build()
    params = SamplingParams(n=4, max_new_tokens=10, stop_token_ids=())
    one = sample_groups(policy, PROMPTS[:1], params)
    assert len({tuple(ids) for ids in one.completion_ids()}) == 4
    other_uid = sample_groups(policy, PROMPTS[:1], params, prompt_uids=[1])
    other_seed = sample_groups(
        policy, PROMPTS[:1], SamplingParams(n=4, max_new_tokens=10, stop_token_ids=(), seed=1)
    )
    assert one.completion_ids() != other_uid.completion_ids()
    assert one.completion_ids() != other_seed.completion_ids()


@pytest.mark.parametrize("build", POLICIES)
def test_top_k_of_one_is_transformers_greedy(build):
    policy = build()
    params = SamplingParams(n=1, top_k=1, max_new_tokens=10, stop_token_ids=())
    for prompt, ids in zip(
        PROMPTS, sample_groups(policy, PROMPTS, params).completion_ids(), strict=True
    ):
        expected = policy.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            do_sample=False,
            max_new_tokens=10,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert ids == expected[0, len(prompt) :].tolist()


@pytest.mark.parametrize("build", [qwen3_policy, gpt2_policy])
def test_first_tokens_follow_the_models_distribution(build):
    policy = build()
    params = SamplingParams(n=4000, max_new_tokens=1, stop_token_ids=(), temperature=0.8)
    rollouts = sample_groups(policy, PROMPTS[:1], params)
    logits = policy.model(torch.tensor(PROMPTS[:1])).logits[0, -1].double() / 0.8
    counts = torch.bincount(rollouts.tokens_NT.flatten(), minlength=97)
    expected = (logits.softmax(-1) * 4000).detach()
    assert chisquare(counts, expected, sum_check=False).pvalue > 1e-3  # fixed seed


@pytest.mark.parametrize("build", [qwen2_policy, gpt2_policy])
def test_rows_end_at_a_stop_token_or_at_the_limit(build):
    rollouts = sample_groups(build(), PROMPTS, PARAMS)
    stops = set(PARAMS.stop_token_ids)
    assert rollouts.num_rows == 12 and set(rollouts.finish_reasons) == {"stop", "length"}
    for n, ids in enumerate(rollouts.completion_ids()):
        assert not stops & set(ids[:-1])
        stopped = ids[-1] in stops
        assert rollouts.finish_reasons[n] == ("stop" if stopped else "length")
        assert stopped or len(ids) == PARAMS.max_new_tokens
        assert rollouts.mask_NT[n].sum() == len(ids)
        assert rollouts.logprobs_NT[n, len(ids) :].count_nonzero() == 0


def test_stops_default_to_the_policys():
    policy = qwen2_policy()
    params = SamplingParams(n=64, max_new_tokens=30)
    rollouts = sample_groups(policy, ["What is 48 + 24?"], params)
    assert rollouts.stop_token_ids == (2, 0)
    assert any(ids[-1] == 2 for ids in rollouts.completion_ids())


def test_texts_drop_only_the_final_stop_token():
    policy = qwen2_policy()
    rollouts = sample_groups(policy, ["48"], SamplingParams(n=64, max_new_tokens=30))
    for text, ids, reason in zip(
        rollouts.texts(), rollouts.completion_ids(), rollouts.finish_reasons, strict=True
    ):
        kept = ids[:-1] if reason == "stop" else ids
        assert text == policy.tokenizer.decode(kept, skip_special_tokens=False)


def test_a_stop_string_ends_the_completion_that_contains_it():
    policy = qwen2_policy()
    params = SamplingParams(n=16, max_new_tokens=20, stop_token_ids=())
    plain = sample_groups(policy, ["48"], params).texts()
    letter = plain[0][3]
    stopped = sample_groups(
        policy,
        ["48"],
        SamplingParams(n=16, max_new_tokens=20, stop_token_ids=(), stop=(letter,)),
    )
    for before, after, reason in zip(plain, stopped.texts(), stopped.finish_reasons, strict=True):
        assert reason == ("stop" if letter in before else "length")
        assert before.startswith(after) and letter not in after[:-8]


@pytest.mark.parametrize("build", [qwen3_policy, gpt2_policy])
def test_an_exception_in_the_callback_leaves_the_policy_usable(build):
    policy = build()
    before = sample_groups(policy, PROMPTS, PARAMS).completion_ids()

    def interrupt(tokens, finished):
        raise KeyboardInterrupt

    many = SamplingParams(n=512, max_new_tokens=100, stop_token_ids=())
    with pytest.raises(KeyboardInterrupt):
        sample_groups(policy, PROMPTS, many, on_step=interrupt)
    assert sample_groups(policy, PROMPTS, PARAMS).completion_ids() == before


@pytest.mark.parametrize("build", [qwen3_policy, gpt2_policy])
def test_an_optimizer_step_is_seen_by_the_next_rollout(build):
    policy = build()
    before = sample_groups(policy, PROMPTS, PARAMS)
    optimizer = torch.optim.SGD(policy.parameters(), lr=1.0)
    policy.logprobs(before)[0].sum().backward()
    optimizer.step()
    after = sample_groups(policy, PROMPTS, PARAMS)
    assert not torch.equal(before.logprobs_NT[:, 0], after.logprobs_NT[:, 0])
    torch.testing.assert_close(policy.logprobs(after)[0], after.logprobs_NT, rtol=0, atol=1e-4)


def test_a_prompt_too_long_for_the_context_is_named():
    with pytest.raises(ValueError, match="context of 128 tokens; prompt 1 has 120"):
        sample_groups(gpt2_policy(), [[1], [1] * 120], PARAMS)


def test_weights_that_are_not_numbers_are_an_error_not_a_sample():
    for policy in (qwen3_policy(), gpt2_policy()):
        with torch.no_grad():
            next(policy.parameters()).fill_(float("nan"))
        with pytest.raises(FloatingPointError, match="the policy's logits must be finite"):
            sample_groups(policy, PROMPTS, PARAMS)


def test_prompt_uids_fit_their_counter():
    for uid in (-1, 2**32):
        with pytest.raises(ValueError, match=r"prompt_uids must be in \[0, 2\^32\); got"):
            sample_groups(qwen3_policy(), PROMPTS[:1], PARAMS, prompt_uids=[uid])


def test_a_negative_seed_is_a_seed():
    for policy in (qwen3_policy(), gpt2_policy()):
        sample_groups(policy, PROMPTS, SamplingParams(n=2, max_new_tokens=3, seed=-1))


def test_prompt_uids_must_match_the_prompts():
    with pytest.raises(ValueError, match="prompt_uids must have one per prompt, 3; got 1"):
        sample_groups(qwen3_policy(), PROMPTS, PARAMS, prompt_uids=[1])


@pytest.mark.parametrize(
    "field,value", [("n", 0), ("temperature", 0), ("top_p", 0), ("top_k", -1), ("stop", "x")]
)
def test_sampling_params_reject(field, value):
    with pytest.raises(ValueError, match=f"SamplingParams: {field} must be"):
        SamplingParams(**{field: value})


def test_one_text_is_no_list_of_prompts_and_no_prompts_give_no_rows():
    policy = qwen2_policy()
    with pytest.raises(ValueError, match=r"prompts must be a list of prompts; got 'What is 1"):
        sample_groups(policy, "What is 1 + 1?", PARAMS)
    assert sample_groups(policy, [], PARAMS).num_rows == 0

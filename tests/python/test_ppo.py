"""The stage `ppo`: its critic, its step, its settings, and that it goes on bit for bit."""

import json
import sys
from dataclasses import replace

import pytest
import torch
from models import gpt2_policy, qwen2_policy, qwen3_policy
from test_reasoning_rl import batches, parameters, sevens
from test_resume import assert_same_run, go_on, kill_run
from test_rl_state import Source, noisy, through_a_file

from r1core import oracle
from r1core.critic import Critic
from r1core.grpo_loss import LossConfig
from r1core.lora import LoraSettings, add_lora
from r1core.recipe import RecipeError, load_recipe
from r1core.rewards import RewardSpec
from r1core.sampling import sample_groups
from r1core.stages.ppo import final_rewards, ppo
from r1core.stages.ppo_config import PPOConfig
from r1core.stages.ppo_state import PPOState
from r1core.stages.rl_state import load_random_state, random_state
from r1core.tracking import read_metrics
from r1core.types import SamplingParams


def config(**changes):
    settings = {
        "steps": 3,
        "questions_per_step": 2,
        "sampling": SamplingParams(n=8, max_new_tokens=6, stop_token_ids=(0,)),
        "optimizer": {"lr": 3e-3},
        "loss": LossConfig(loss_type="grpo"),
        "critic": {"lr": 1e-2},
    }
    return PPOConfig(**(settings | changes))


def train(policy, reward=sevens, state=None, **changes):
    specs = [RewardSpec.resolve(reward)]
    return list(ppo(policy, batches(), specs, config(**changes), state))


def random_head(critic):
    torch.nn.init.normal_(critic.model.get_output_embeddings().weight)
    return critic


# The critic ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [qwen3_policy, gpt2_policy])  # packed, and a row per sequence
def test_a_value_is_that_of_the_state_before_its_token(make):
    policy = make()
    rollouts = sample_groups(policy, [[1, 2, 3], [4, 5]], SamplingParams(n=3, max_new_tokens=5))
    critic = random_head(Critic.from_policy(policy))
    values_NT = critic.values(rollouts)
    head_H = critic.model.get_output_embeddings().weight[0]
    for n, (ids, length) in enumerate(
        zip(rollouts.completion_ids(), rollouts.lengths_N, strict=True)
    ):
        prompt = rollouts.prompt_tokens[n // 3].tolist()
        sequence = torch.tensor([prompt + ids[:-1]])  # the last token is never seen
        hidden = policy.model.base_model(input_ids=sequence).last_hidden_state[0]
        expected = hidden[len(prompt) - 1 :] @ head_H
        torch.testing.assert_close(values_NT[n, :length], expected, rtol=1e-4, atol=1e-5)
        assert values_NT[n, length:].count_nonzero() == 0


def test_a_critic_starts_at_zero_and_shares_no_weight_with_the_policy():
    policy = qwen3_policy(tie_word_embeddings=True)
    add_lora(policy, LoraSettings(r=2), seed=1)
    critic = Critic.from_policy(policy)
    rollouts = sample_groups(policy, [[1, 2]], SamplingParams(n=2, max_new_tokens=3))
    assert critic.values(rollouts).count_nonzero() == 0
    assert all(p.requires_grad for p in critic.model.parameters())
    storages = {p.data_ptr() for p in policy.parameters()}
    assert not storages & {p.data_ptr() for p in critic.model.parameters()}
    assert policy.model.get_output_embeddings().weight.shape[0] == 97


def test_a_critic_learns_what_to_expect():
    sampling = SamplingParams(n=32, max_new_tokens=6, stop_token_ids=(0,))
    policy = qwen3_policy(vocab_size=10)
    stats = train(policy, steps=40, optimizer={"lr": 1e-6}, sampling=sampling)
    explained = [s.metrics["critic/vf_explained_var"] for s in stats]
    losses = [s.metrics["loss/value_avg"] for s in stats]
    assert explained[0] == pytest.approx(0, abs=1e-6)  # the head starts at zero
    assert sum(explained[-5:]) / 5 > 0.15
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


# A step -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gae_lambda", [1.0, 0.95])
def test_a_toy_policy_learns(gae_lambda):
    stats = train(
        qwen3_policy(vocab_size=10), steps=50, critic={"lr": 1e-2, "gae_lambda": gae_lambda}
    )
    rewards = [s.metrics["reward"] for s in stats]
    assert sum(rewards[-5:]) > 3 * sum(rewards[:5])


def test_the_first_step_has_the_gradient_of_its_formula():
    """The head starts at zero, so at lambda 1 the advantage is the whitened reward."""
    policy = qwen3_policy(vocab_size=10)
    start = policy.trainable_copy()
    [stats] = train(policy, steps=1, loss=LossConfig(loss_type="bnpo", epsilon=0.2))
    rollouts, mask_NT = stats.rollouts, stats.rollouts.mask_NT
    rewards_NT = stats.rewards.total_N[:, None].double() * mask_NT
    advantages_NT = oracle.whiten(rewards_NT, mask_NT)
    logprobs_NT = start.logprobs(rollouts)[0].double()
    expected = oracle.grpo_loss(
        logprobs_NT, advantages_NT, mask_NT, logprobs_NT.detach(), loss_type="bnpo"
    )
    expected.backward()
    norm = torch.cat([p.grad.flatten() for p in start.parameters()]).norm().item()
    assert stats.metrics["grad_norm"] == pytest.approx(norm, rel=1e-4)
    assert stats.metrics["policy_loss"] == pytest.approx(expected.item(), abs=1e-6)
    value_loss = 0.5 * (rewards_NT.square().sum() / mask_NT.sum()).item()  # against zero values
    assert stats.metrics["loss/value_avg"] == pytest.approx(value_loss, rel=1e-5)


def test_micro_batches_do_not_change_the_step():
    whole, split = qwen3_policy(vocab_size=10), qwen3_policy(vocab_size=10)
    settings = {"steps": 2, "critic": {"lr": 1e-2, "value_clip": 0.1}, "num_iterations": 2}
    one = train(whole, tokens_per_micro_batch=10_000, **settings)
    many = train(split, tokens_per_micro_batch=20, **settings)
    names = ("grad_norm", "critic/grad_norm", "loss/value_avg", "val/clipfrac_avg")
    for first, second in zip(one, many, strict=True):
        for name in names:
            assert first.metrics[name] == pytest.approx(second.metrics[name], rel=1e-3, abs=1e-6)
    assert one[1].metrics["val/clipfrac_avg"] > 0


def test_the_reward_falls_on_the_last_token_and_kl_on_every_one():
    mask_NT = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]])
    total_N = torch.tensor([2.0, -1.0, 5.0, float("nan")])
    assert final_rewards(total_N, mask_NT.bool()).tolist() == [
        [0, 0, 0, 2.0, 0],
        [-1.0, 0, 0, 0, 0],
        [0] * 5,
        [0] * 5,
    ]
    free, held = qwen3_policy(vocab_size=10), qwen3_policy(vocab_size=10)
    start = parameters(free)
    train(free, steps=15)
    loss = LossConfig(loss_type="grpo", beta=5, kl_estimator="k1")
    stats = train(held, steps=15, loss=loss)
    assert stats[0].metrics["kl"] == pytest.approx(0, abs=1e-6) and stats[5].metrics["kl"] != 0
    assert (parameters(held) - start).norm() < (parameters(free) - start).norm()


def test_rows_without_a_reward_teach_neither_policy_nor_critic():
    def abstains(completion_ids, **_):
        return [None] * len(completion_ids)

    policy = qwen3_policy(vocab_size=10)
    before = parameters(policy)
    [stats] = train(policy, reward=abstains, steps=1)
    assert stats.advantages_N.count_nonzero() == 0
    assert stats.metrics["critic/grad_norm"] == 0
    assert torch.equal(parameters(policy), before)


def test_the_critic_alone_learns_in_its_warm_up():
    policy = qwen3_policy(vocab_size=10)
    before = parameters(policy)
    state = PPOState(policy, config(steps=3))
    critic = {"lr": 1e-2, "warmup_steps": 2}
    stage = ppo(policy, batches(), [RewardSpec.resolve(sevens)], config(critic=critic), state)
    for step in (1, 2):
        stats = next(stage)
        assert stats.step == state.step == state.critic_state.step == step
        assert torch.equal(parameters(policy), before) and "policy_loss" not in stats.metrics
    next(stage)
    assert not torch.equal(parameters(policy), before)


@pytest.mark.parametrize("broken", ["policy", "critic"])
def test_a_gradient_that_is_not_finite_stops_before_either_step(broken):
    policy = qwen3_policy(vocab_size=10)
    state = PPOState(policy, config())
    model = policy.model if broken == "policy" else state.critic.model
    model.lm_head.weight.register_hook(lambda grad: grad * float("nan"))
    before = [parameters(policy), torch.cat([p.flatten() for p in state.critic.model.parameters()])]
    stage = "ppo, step 1" if broken == "policy" else "ppo's critic, step 1"
    with pytest.raises(FloatingPointError, match=f"{stage}: the gradient norm must be finite"):
        train(policy, state=state)
    after = [parameters(policy), torch.cat([p.flatten() for p in state.critic.model.parameters()])]
    assert all(map(torch.equal, before, after))
    assert state.step == state.critic_state.step == 0


# Going on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [1, 2, 4])
def test_a_saved_state_continues_bit_for_bit(tmp_path, last):
    settings = config(
        steps=6,
        minibatches=2,
        num_iterations=2,
        loss=replace(LossConfig.r1(), beta=0.1),
        critic={"lr": 1e-2, "gae_lambda": 0.95, "value_clip": 0.2, "warmup_steps": 1},
    )
    torch.manual_seed(1)
    whole = qwen3_policy(vocab_size=10)
    specs, source, state = [RewardSpec.resolve(noisy)], Source(), PPOState(whole, settings)
    for stats in ppo(whole, source, specs, settings, state):
        if stats.step == last:
            parts = {"state": state.state_dict(), "policy": whole.state_dict()}
            parts |= {"random": random_state(), "given": source.given}
            saved = through_a_file(parts, tmp_path / "state.pt")
    other = qwen3_policy(vocab_size=10)
    other.load_state_dict(saved["policy"])
    going_on = PPOState(other, settings)
    going_on.load_state_dict(saved["state"])
    load_random_state(saved["random"])
    list(ppo(other, Source(saved["given"]), specs, settings, going_on))
    assert torch.equal(parameters(other), parameters(whole))
    theirs = state.critic.state_dict()
    assert all(torch.equal(x, theirs[name]) for name, x in going_on.critic.state_dict().items())


RECIPE = """
name = "ppo"
seed = 3
[model]
path = "{folder}/model"
[[stage]]
name = "ppo"
kind = "ppo"
from = "base"
data = {{ path = "{folder}/questions", prompt = "question" }}
rewards = [{{ name = "ppo_rewards:brief" }}]
steps = 6
questions_per_step = 2
minibatches = 2
sampling = {{ n = 4, max_new_tokens = 6 }}
loss = {{ beta = 0.02, epsilon = 0.2 }}
optimizer = {{ lr = 3e-3 }}
critic = {{ lr = 1e-2, gae_lambda = 0.95, value_clip = 0.2, warmup_steps = 1 }}
evaluation = {{ every = 4, questions = 2, samples = 2 }}
checkpoint = {{ every = 3 }}
"""
REWARDS = """
import random

def brief(completions, **columns):
    return [random.random() - len(c) for c in completions]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ppo")
    qwen2_policy(max_position_embeddings=512).save_pretrained(folder / "model")
    (folder / "questions").mkdir()
    rows = [{"question": f"What is {a} + 4?", "answer": f"#### {a + 4}"} for a in range(7)]
    for split in ("train", "test"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "questions" / f"{split}.jsonl").write_text(text)
    (folder / "ppo_rewards.py").write_text(REWARDS)
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder))
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def test_a_killed_run_goes_on_bit_for_bit_with_its_critic(home, tmp_path):
    whole = go_on(home, tmp_path / "whole")
    steps = [x for x in read_metrics(whole) if "critic/vf_explained_var" in x]
    assert [x["step"] for x in steps] == [1, 3, 5]  # where rollouts are drawn
    # Each step is two calls but the first, the critic's: this kills between the two of step 5.
    kill_run(home, tmp_path / "run", "r1core.stages.training_state:optimizer_step", 9)
    assert read_metrics(tmp_path / "run")[-1]["step"] == 4
    go_on(home, tmp_path / "run")
    assert_same_run(tmp_path / "run", whole)


@pytest.mark.parametrize(
    "override,message",
    [
        ("ppo.critic.gae_lambda=1.2", "critic.gae_lambda: .*less than or equal to 1; got 1.2"),
        ("ppo.critic.gamma=0", "critic.gamma: .*greater than 0; got 0"),
        ("ppo.critic.lr=0", "critic.lr: .*greater than 0; got 0"),
        ("ppo.critic.value_clip=-0.1", "critic.value_clip: .*greater than 0; got -0.1"),
        ("ppo.critic.warmup_steps=6", "critic.warmup_steps must be < steps, 6: .*; got 6"),
        ("ppo.critic.lambda=1", "unknown key ppo.critic.lambda"),
        ("ppo.scale_rewards=group", "unknown key ppo.scale_rewards"),
    ],
)
def test_a_wrong_critic_is_named(home, override, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(home / "recipe.toml", [override])


def test_ppo_takes_a_single_completion_of_each_prompt(home):
    recipe = load_recipe(home / "recipe.toml", ["ppo.sampling.n=1"])
    assert recipe.stage[0].sampling.n == 1

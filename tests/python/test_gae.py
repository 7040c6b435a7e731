"""Generalized advantage estimation, whitening and the value loss against their oracles."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from r1core import oracle
from r1core.gae import gae, whiten
from r1core.value_loss import explained_variance, value_loss

SHAPES = [(0, 3), (3, 0), (1, 1), (5, 7), (17, 31)]


def case(N=5, T=7, seed=0, holes=False):
    """Draw rewards, values and a mask of completions of different lengths."""
    generator = torch.Generator().manual_seed(100 * N + 10 * T + seed)
    rewards_NT, values_NT = torch.randn(2, N, T, generator=generator)
    lengths_N = torch.randint(0, T + 1, (N,), generator=generator)
    mask_NT = torch.arange(T) < lengths_N[:, None]
    if holes:  # a tool's tokens
        mask_NT &= torch.rand(N, T, generator=generator) < 0.7
    return rewards_NT, values_NT, mask_NT


@pytest.mark.parametrize("N,T", SHAPES)
@pytest.mark.parametrize("gamma,gae_lambda", [(1.0, 1.0), (1.0, 0.95), (0.99, 0.5), (0.9, 0.0)])
@pytest.mark.parametrize("holes", [False, True])
def test_gae_matches_the_sum_of_discounted_errors(N, T, gamma, gae_lambda, holes):
    rewards_NT, values_NT, mask_NT = case(N, T, holes=holes)
    found = gae(rewards_NT, values_NT, mask_NT, gamma=gamma, gae_lambda=gae_lambda)
    expected = oracle.gae(
        rewards_NT.double(), values_NT.double(), mask_NT, gamma=gamma, gae_lambda=gae_lambda
    )
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-6, atol=1e-6)  # one rounding


def test_lambda_one_is_the_return_that_came_less_the_value():
    rewards_NT, values_NT, _ = case(4, 9)
    mask_NT = torch.ones(4, 9, dtype=torch.bool)
    advantages_NT, returns_NT = gae(rewards_NT, values_NT, mask_NT, gamma=1.0, gae_lambda=1.0)
    to_come_NT = rewards_NT.flip(-1).cumsum(-1).flip(-1)
    torch.testing.assert_close(returns_NT, to_come_NT)
    torch.testing.assert_close(advantages_NT, to_come_NT - values_NT)


def test_lambda_zero_is_the_error_of_the_next_value():
    rewards_NT, values_NT, _ = case(4, 9)
    mask_NT = torch.ones(4, 9, dtype=torch.bool)
    advantages_NT, _ = gae(rewards_NT, values_NT, mask_NT, gamma=0.9, gae_lambda=0.0)
    next_NT = torch.nn.functional.pad(values_NT[:, 1:], (0, 1))
    torch.testing.assert_close(advantages_NT, rewards_NT + 0.9 * next_NT - values_NT)


def test_a_reward_of_the_last_token_alone_reaches_every_token_at_lambda_one():
    mask_NT = torch.arange(6) < torch.tensor([[3], [6]])
    rewards_NT = torch.zeros(2, 6)
    rewards_NT[0, 2], rewards_NT[1, 5] = 2.0, -1.0
    advantages_NT, _ = gae(rewards_NT, torch.zeros(2, 6), mask_NT)
    assert advantages_NT.tolist() == [[2.0] * 3 + [0.0] * 3, [-1.0] * 6]
    decayed_NT, _ = gae(rewards_NT, torch.zeros(2, 6), mask_NT, gae_lambda=0.5)
    assert decayed_NT[0].tolist() == [0.5, 1.0, 2.0, 0.0, 0.0, 0.0]


def test_a_completion_that_was_cut_off_ends_there_too():
    """No value is taken after the last position, whether the row is full or not."""
    values_NT = torch.full((1, 4), 5.0)
    advantages_NT, _ = gae(torch.zeros(1, 4), values_NT, torch.ones(1, 4, dtype=torch.bool))
    assert advantages_NT.tolist() == [[-5.0] * 4]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    gae_lambda=st.floats(0, 1),
    rubbish=st.sampled_from([7.0, math.nan, math.inf]),
)
def test_what_padding_holds_never_leaks(seed, gae_lambda, rubbish):
    rewards_NT, values_NT, mask_NT = case(4, 6, seed, holes=True)
    clean = gae(rewards_NT, values_NT, mask_NT, gae_lambda=gae_lambda)
    filled = [x.where(mask_NT, rubbish) for x in (rewards_NT, values_NT)]
    for mine, theirs in zip(clean, gae(*filled, mask_NT, gae_lambda=gae_lambda), strict=True):
        assert torch.equal(mine, theirs)
        assert mine[~mask_NT].count_nonzero() == 0


def test_whitened_values_have_mean_zero_and_variance_one_over_the_batch():
    _, values_NT, mask_NT = case(17, 31)
    values_NT = 40 + 3 * values_NT
    white_NT = whiten(values_NT.where(mask_NT, math.nan), mask_NT)
    torch.testing.assert_close(
        white_NT.double(), oracle.whiten(values_NT.double(), mask_NT), rtol=1e-5, atol=1e-5
    )
    assert white_NT[mask_NT].mean().item() == pytest.approx(0, abs=1e-5)
    assert white_NT[mask_NT].var().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("counted", [0, 1])
def test_whitening_of_fewer_than_two_values_is_zero(counted):
    mask_NT = torch.arange(3)[None] < counted
    assert whiten(torch.full((1, 3), 4.0), mask_NT).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("N,T", SHAPES)
@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_value_loss_matches_its_oracle(N, T, clip):
    returns_NT, values_NT, mask_NT = case(N, T)
    old_NT = values_NT + 0.3 * torch.randn(N, T, generator=torch.Generator().manual_seed(1))
    loss, _ = value_loss(values_NT, returns_NT, mask_NT, old_values_NT=old_NT, clip=clip)
    limit = math.inf if clip is None else clip
    expected = oracle.value_loss(
        values_NT.double(), returns_NT.double(), mask_NT, old_NT.double(), clip=limit
    )
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_gradient_of_the_value_loss_is_that_of_its_oracle(clip):
    returns_NT, values_NT, mask_NT = (x.double() if x.is_floating_point() else x for x in case())
    old_NT = values_NT + 0.3 * torch.randn(5, 7, dtype=torch.float64)

    def loss(x):
        return value_loss(x, returns_NT, mask_NT, old_values_NT=old_NT, clip=clip)[0]

    def reference(x):
        limit = math.inf if clip is None else clip
        return oracle.value_loss(x, returns_NT, mask_NT, old_NT, clip=limit)

    values_NT.requires_grad_()
    assert torch.autograd.gradcheck(loss, (values_NT,))
    [mine] = torch.autograd.grad(loss(values_NT), values_NT)
    [theirs] = torch.autograd.grad(reference(values_NT), values_NT)
    torch.testing.assert_close(mine, theirs)


def test_values_that_moved_far_towards_the_return_have_no_gradient():
    values_NT = torch.tensor([[0.5, 0.1, -0.5]], requires_grad=True)
    zeros_NT, ones_NT = torch.zeros(1, 3), torch.ones(1, 3)
    loss, clipped = value_loss(values_NT, ones_NT, ones_NT.bool(), old_values_NT=zeros_NT, clip=0.2)
    loss.backward()
    assert values_NT.grad[0, 0] == 0 and (values_NT.grad[0, 1:] != 0).all()
    assert clipped.item() == pytest.approx(1 / 3)


def test_explained_variance_is_one_zero_and_below():
    returns_NT, _, mask_NT = case(9, 11)
    assert explained_variance(returns_NT + 3, returns_NT, mask_NT) == pytest.approx(1)
    assert explained_variance(torch.zeros(9, 11), returns_NT, mask_NT) == pytest.approx(0)
    assert explained_variance(-returns_NT, returns_NT, mask_NT) == pytest.approx(-3)
    assert math.isnan(explained_variance(returns_NT, torch.ones(9, 11), mask_NT))


def test_wrong_arguments_are_named():
    rewards_NT, values_NT, mask_NT = case()
    with pytest.raises(ValueError, match=r"gae: gamma must be in \(0, 1\]; got 0"):
        gae(rewards_NT, values_NT, mask_NT, gamma=0)
    with pytest.raises(ValueError, match=r"gae: gae_lambda must be in \[0, 1\]; got 1.5"):
        gae(rewards_NT, values_NT, mask_NT, gae_lambda=1.5)
    with pytest.raises(ValueError, match=r"must have one shape \[N, T\]; got .*\[5, 6\]"):
        gae(rewards_NT, values_NT[:, :6], mask_NT)
    with pytest.raises(ValueError, match="mask_NT must be bool; got torch.float32"):
        gae(rewards_NT, values_NT, mask_NT.float())
    with pytest.raises(ValueError, match="whiten: eps must be > 0; got 0"):
        whiten(values_NT, mask_NT, eps=0)
    with pytest.raises(ValueError, match="clip must be > 0 or None; got -1"):
        value_loss(values_NT, rewards_NT, mask_NT, old_values_NT=values_NT, clip=-1)
    with pytest.raises(ValueError, match="old_values_NT must be given with clip"):
        value_loss(values_NT, rewards_NT, mask_NT, clip=0.2)

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from r1core import oracle
from r1core.advantage import group_advantage


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("P,G", [(1, 2), (3, 16), (5, 33), (257, 64)])
def test_group_advantage_matches_the_oracle(P, G, scale):
    rewards_PG = torch.rand(P, G, generator=torch.Generator().manual_seed(1000 * P + G))
    actual = group_advantage(rewards_PG, scale=scale)
    expected = oracle.group_advantage(rewards_PG.double(), scale=scale)
    # Sums run in float64; the result is rounded to float32 once.
    torch.testing.assert_close(actual.double(), expected, rtol=1e-6, atol=1e-6)


def test_group_advantage_of_no_prompt_is_empty():
    assert group_advantage(torch.zeros(0, 8)).shape == (0, 8)


@settings(deadline=None)
@given(reward=st.floats(-1e3, 1e3, width=32), G=st.integers(1, 40))
def test_group_advantage_is_exactly_zero_when_a_group_agrees(reward, G):
    assert group_advantage(torch.full((2, G), reward)).count_nonzero() == 0


@settings(deadline=None)
@given(
    rewards=st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=12),
    shift=st.integers(-8, 8),
)
def test_group_advantage_does_not_depend_on_a_constant_added_to_a_group(rewards, shift):
    rewards_PG = torch.tensor([rewards])
    torch.testing.assert_close(
        group_advantage(rewards_PG, scale="none"),
        group_advantage(rewards_PG + shift, scale="none"),
        rtol=1e-4,
        atol=1e-4,  # adding the constant rounds the rewards themselves
    )


def test_a_masked_reward_gets_zero_and_leaves_the_others_mean_and_std():
    nan = float("nan")
    with_masked = group_advantage(torch.tensor([[1.0, nan, 0.0, 0.0, nan]]))
    without = group_advantage(torch.tensor([[1.0, 0.0, 0.0]]))
    assert with_masked[0, [1, 4]].tolist() == [0, 0]
    assert with_masked[0, [0, 2, 3]].tolist() == without[0].tolist()


def test_fewer_than_two_finite_rewards_give_zero():
    nan = float("nan")
    assert group_advantage(torch.tensor([[1.0, nan], [nan, nan]])).count_nonzero() == 0


def test_leave_one_out_compares_with_the_mean_of_the_others():
    rewards_PG = torch.tensor([[1.0, 0.0, 0.0, 0.5]])
    others = torch.tensor([(rewards_PG.sum() - r) / 3 for r in rewards_PG[0]])
    actual = group_advantage(rewards_PG, scale="none", baseline="leave_one_out")
    torch.testing.assert_close(actual[0], rewards_PG[0] - others)


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"rewards_PG": torch.zeros(4)}, r"rewards must be \[num_prompts, group_size.*got \[4\]"),
        ({"rewards_PG": torch.zeros(2, 2).double()}, "rewards must be float32"),
        ({"rewards_PG": torch.zeros(2, 2), "eps": 0.0}, "eps must be > 0; got 0"),
        ({"rewards_PG": torch.zeros(2, 2), "ddof": 2}, "ddof must be 0 or 1; got 2"),
        ({"rewards_PG": torch.zeros(2, 2), "scale": "x"}, "scale must be group, batch or none"),
    ],
)
def test_group_advantage_rejects(arguments, message):
    with pytest.raises(ValueError, match=message):
        group_advantage(**arguments)


def test_the_op_is_well_registered():
    torch.library.opcheck(
        torch.ops.r1core.group_advantage.default, (torch.rand(3, 4), "group", "mean", 1e-4, 1)
    )

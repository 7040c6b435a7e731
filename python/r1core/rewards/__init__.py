"""Rules that grade completions, and the weighted sum that GRPO learns from.

    from r1core.rewards import RewardSpec, score_rollouts, verify_math

    verify_math(["<think>6 * 7</think><answer>42</answer>"], ["42"])[0].status     # "correct"

A completion is data: whatever it holds, it gets a verdict and never an exception. `accuracy_reward`
and its kin have TRL's call shape and work in a TRL trainer; TRL's rewards work here.
"""

from r1core.rewards.functions import (
    accuracy_reward,
    format_reward,
    soft_overlong_punishment,
    tag_count_reward,
)
from r1core.rewards.isolate import close_workers
from r1core.rewards.scoring import score_rollouts
from r1core.rewards.spec import RewardSpec
from r1core.rewards.verify import Verdict, format_faults, math_equal, single_tags, verify_math

__all__ = [
    "RewardSpec",
    "Verdict",
    "accuracy_reward",
    "close_workers",
    "format_faults",
    "format_reward",
    "math_equal",
    "score_rollouts",
    "single_tags",
    "soft_overlong_punishment",
    "tag_count_reward",
    "verify_math",
]

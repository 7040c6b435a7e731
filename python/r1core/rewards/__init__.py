"""Rules that grade completions, and the weighted sum that GRPO learns from.

    from r1core.rewards import RewardSpec, score_rollouts, verify_math

    verify_math(["<think>6 * 7</think><answer>42</answer>"], ["42"])[0].status     # "correct"

A completion is data: whatever it holds, it gets a verdict and never an exception. `accuracy_reward`
and its kin have TRL's call shape and work in a TRL trainer; TRL's rewards work here.
"""

from r1core.rewards.choice import choice_reward, verify_choice
from r1core.rewards.functions import accuracy_reward, format_reward, tag_count_reward
from r1core.rewards.isolate import close_workers
from r1core.rewards.json_format import json_format_reward
from r1core.rewards.language import language_consistency, language_consistency_reward
from r1core.rewards.length import (
    cosine_length,
    cosine_length_reward,
    soft_overlong_punishment,
    soft_overlong_punishment_reward,
)
from r1core.rewards.math_policy import MathPolicy
from r1core.rewards.repetition import (
    Loop,
    longest_periodic_suffix,
    repetition_penalty,
    repetition_penalty_reward,
    token_repetition_penalty,
)
from r1core.rewards.scoring import TrainerState, score_rollouts
from r1core.rewards.spec import RewardSpec
from r1core.rewards.verify import Verdict, format_faults, math_equal, single_tags, verify_math

__all__ = [
    "Loop",
    "MathPolicy",
    "RewardSpec",
    "TrainerState",
    "Verdict",
    "accuracy_reward",
    "cosine_length",
    "cosine_length_reward",
    "choice_reward",
    "close_workers",
    "format_faults",
    "format_reward",
    "json_format_reward",
    "language_consistency",
    "language_consistency_reward",
    "longest_periodic_suffix",
    "math_equal",
    "repetition_penalty",
    "repetition_penalty_reward",
    "score_rollouts",
    "single_tags",
    "soft_overlong_punishment",
    "soft_overlong_punishment_reward",
    "tag_count_reward",
    "token_repetition_penalty",
    "verify_choice",
    "verify_math",
]

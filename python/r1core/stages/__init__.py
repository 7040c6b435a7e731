"""The boxes of the R1 figure: what trains is a generator of `StepStats`."""

from r1core.stages.cold_start import cold_start
from r1core.stages.dataset import SamplingStageConfig
from r1core.stages.difficulty import RatedQuestions, filter_by_pass_rate
from r1core.stages.evaluate import Evaluation, EvaluationConfig, evaluate
from r1core.stages.optimizer import OptimizerConfig
from r1core.stages.ppo import ppo
from r1core.stages.ppo_config import CriticConfig, PPOConfig
from r1core.stages.preferences import PreferenceConfig, preference_pairs, safety_labels
from r1core.stages.pretrain import PretrainConfig, pretrain
from r1core.stages.reasoning_rl import Batch, ReasoningRLConfig, reasoning_rl
from r1core.stages.rejection_sampling import rejection_sampling
from r1core.stages.reward_model import RewardModelConfig, reward_model
from r1core.stages.sft import SFTConfig, sft

preference_rl = reasoning_rl  # with reward models among the rewards: paper, section 2.3.4
distill = sft  # on another model's traces: paper, section 2.4

__all__ = [
    "Batch",
    "CriticConfig",
    "Evaluation",
    "EvaluationConfig",
    "OptimizerConfig",
    "PPOConfig",
    "PreferenceConfig",
    "PretrainConfig",
    "RatedQuestions",
    "ReasoningRLConfig",
    "RewardModelConfig",
    "SFTConfig",
    "SamplingStageConfig",
    "cold_start",
    "distill",
    "evaluate",
    "filter_by_pass_rate",
    "ppo",
    "preference_pairs",
    "preference_rl",
    "pretrain",
    "reasoning_rl",
    "rejection_sampling",
    "reward_model",
    "safety_labels",
    "sft",
]

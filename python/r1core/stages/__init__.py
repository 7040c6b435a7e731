"""The boxes of the R1 figure: what trains is a generator of `StepStats`."""

from r1core.stages.difficulty import RatedQuestions, filter_by_pass_rate
from r1core.stages.evaluate import Evaluation, EvaluationConfig, evaluate
from r1core.stages.optimizer import OptimizerConfig
from r1core.stages.ppo import ppo
from r1core.stages.ppo_config import CriticConfig, PPOConfig
from r1core.stages.pretrain import PretrainConfig, pretrain
from r1core.stages.reasoning_rl import Batch, ReasoningRLConfig, reasoning_rl

__all__ = [
    "Batch",
    "CriticConfig",
    "Evaluation",
    "EvaluationConfig",
    "OptimizerConfig",
    "PPOConfig",
    "PretrainConfig",
    "RatedQuestions",
    "ReasoningRLConfig",
    "evaluate",
    "filter_by_pass_rate",
    "ppo",
    "pretrain",
    "reasoning_rl",
]

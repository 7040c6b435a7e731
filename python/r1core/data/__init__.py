"""Questions: where they come from, what the policy sees of them, in which order."""

from r1core.data.questions import Questions, load_questions
from r1core.data.sampler import PromptSampler, prompt_sampler
from r1core.data.spec import DataSpec, DifficultyFilter
from r1core.data.templates import R1_ZERO_TEMPLATE

__all__ = [
    "R1_ZERO_TEMPLATE",
    "DataSpec",
    "DifficultyFilter",
    "PromptSampler",
    "Questions",
    "load_questions",
    "prompt_sampler",
]

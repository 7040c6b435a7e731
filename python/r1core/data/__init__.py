"""Questions: where they come from, what the policy sees of them, in which order."""

from r1core.data.questions import Questions, load_questions
from r1core.data.sampler import PromptSampler
from r1core.data.spec import DataSpec
from r1core.data.templates import R1_ZERO_TEMPLATE

__all__ = ["R1_ZERO_TEMPLATE", "DataSpec", "PromptSampler", "Questions", "load_questions"]

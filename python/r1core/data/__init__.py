"""Questions: where they come from, what the policy sees of them, in which order."""

from r1core.data.decontaminate import Decontaminated, decontaminate
from r1core.data.examples import Example, load_examples
from r1core.data.mixture import Part, QuestionMixture
from r1core.data.questions import Questions, load_questions
from r1core.data.sampler import PromptSampler, prompt_sampler
from r1core.data.spec import DataSpec, DifficultyFilter
from r1core.data.templates import R1_ZERO_TEMPLATE

__all__ = [
    "R1_ZERO_TEMPLATE",
    "DataSpec",
    "Decontaminated",
    "DifficultyFilter",
    "Example",
    "Part",
    "PromptSampler",
    "QuestionMixture",
    "Questions",
    "decontaminate",
    "load_examples",
    "load_questions",
    "prompt_sampler",
]

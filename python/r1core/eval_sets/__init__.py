"""Evaluation sets by name: where each is, what of it the policy sees, and what grades the answer.

    from r1core.eval_sets import load_eval_set

    loaded = load_eval_set("gsm8k", path="test.jsonl")      # or from the hub, without a path
    prompts, columns = loaded.questions.batch(range(8))     # columns: prompt, answer, level, ...

The sets are those of DeepSeek-R1's tables with public questions; none of their texts is here.
"""

from r1core.eval_sets.load import LoadedEvalSet, load_eval_set
from r1core.eval_sets.prompts import MATH_DIRECTIVE
from r1core.eval_sets.table import EVAL_SETS, EvalSet, find_eval_set

__all__ = [
    "EVAL_SETS",
    "MATH_DIRECTIVE",
    "EvalSet",
    "LoadedEvalSet",
    "find_eval_set",
    "load_eval_set",
]

"""`r1core eval`: a policy, a set of questions, a result that says exactly what was measured.

questions (what is asked) -> run (sample, grade, write) -> table (print), compare (two results)
"""

from r1core.evaluation.compare import Comparison, compare
from r1core.evaluation.questions import AskedQuestions, ask_data, ask_set, ask_world
from r1core.evaluation.run import Result, evaluate_questions, read_result, write_result

__all__ = [
    "AskedQuestions",
    "Comparison",
    "Result",
    "ask_data",
    "ask_set",
    "ask_world",
    "compare",
    "evaluate_questions",
    "read_result",
    "write_result",
]

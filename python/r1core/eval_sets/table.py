"""The sets: where each is published, how its rows read, what grades it, how often it is asked."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from r1core.data.sources import Row
from r1core.eval_sets import readers
from r1core.eval_sets.prompts import Grader, Question
from r1core.rewards import RewardSpec


@dataclass(frozen=True)
class EvalSet:
    """An evaluation set.

    Attributes:
        name: ours.
        path: its name on the Hugging Face hub.
        read: its format.
        grader: what compares an answer with the gold.
        config: its configuration on the hub.
        split: the part that is asked.
        shot_split: the part that worked examples come from; None where there is no other part.
        samples: the paper's k (appendix D.1); None where it names none.
        by_subject: whether worked examples are of the question's own subject.
        revision: commit or tag on the hub; None takes the newest. The fingerprint in an
            evaluation's manifest tells one from another either way.
    """

    name: str
    path: str
    read: Callable[[Row], Question]
    grader: Grader
    config: str | None = None
    split: str = "test"
    shot_split: str | None = None
    samples: int | None = None
    by_subject: bool = False
    revision: str | None = None

    def rewards(self) -> list[RewardSpec]:
        """Return what grades the answers, under the name "accuracy".

        Raises:
            ValueError: the set is of programs.
        """
        if self.grader == "code":
            raise ValueError(
                f"eval set {self.name!r}: grading code needs the sandbox, which this version does "
                "not have; its questions can be loaded"
            )
        found = RewardSpec.resolve("accuracy" if self.grader == "math" else "choice")
        return [RewardSpec(found.function, "accuracy")]


_SETS = (
    EvalSet("gsm8k", "openai/gsm8k", readers.read_gsm8k, "math", config="main", shot_split="train"),
    EvalSet("math_500", "HuggingFaceH4/MATH-500", readers.read_math, "math", samples=16),
    EvalSet(
        "aime_2024",
        "HuggingFaceH4/aime_2024",
        readers.read_math,
        "math",
        split="train",
        samples=64,
    ),
    EvalSet("aime_2025", "math-ai/aime25", readers.read_math, "math", samples=64),
    EvalSet(
        "mmlu",
        "cais/mmlu",
        readers.read_mmlu,
        "choice",
        config="all",
        shot_split="dev",
        by_subject=True,
    ),
    EvalSet(
        "mmlu_pro",
        "TIGER-Lab/MMLU-Pro",
        readers.read_mmlu_pro,
        "choice",
        shot_split="validation",
        by_subject=True,
    ),
    EvalSet(
        "gpqa_diamond",
        "Idavidrein/gpqa",
        readers.read_gpqa,
        "choice",
        config="gpqa_diamond",
        split="train",
        samples=64,
    ),
    EvalSet(
        "livecodebench",
        "livecodebench/code_generation_lite",
        readers.read_livecodebench,
        "code",
        samples=8,
    ),
    EvalSet("humaneval", "openai/openai_humaneval", readers.read_humaneval, "code"),
    EvalSet("codeforces", "open-r1/codeforces", readers.read_codeforces, "code", samples=16),
)
EVAL_SETS = {each.name: each for each in _SETS}
"""Name -> set."""


def find_eval_set(name: str) -> EvalSet:
    """Return the set of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in EVAL_SETS:
        nearest = difflib.get_close_matches(name, EVAL_SETS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"load_eval_set: name must be one of {', '.join(EVAL_SETS)}; got {name!r} "
            f"(nearest: {nearest!r})"
        )
    return EVAL_SETS[name]

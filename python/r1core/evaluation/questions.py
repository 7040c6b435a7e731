"""What an evaluation asks: a named set, a file of one's own, or an embedded world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from r1core.data import DataSpec, Questions, load_questions
from r1core.eval_sets import load_eval_set
from r1core.rewards import RewardSpec

USUAL_SAMPLES = 4  # where the paper names no k

Template = Literal["r1_zero", "chat", "none"]


@dataclass(frozen=True)
class AskedQuestions:
    """Questions, what grades the answers, and how they are put.

    Attributes:
        name: of the set, the world, or the file's stem.
        source: file, directory, hub name or world.
        questions: templated.
        rewards: "accuracy", or else the first, says what is correct.
        template: what the policy sees around a question.
        shots: worked examples before each question.
        samples: usual answers per question: the paper's k where it names one.
    """

    name: str
    source: str
    questions: Questions
    rewards: list[RewardSpec]
    template: Template
    shots: int = 0
    samples: int = USUAL_SAMPLES


def ask_set(
    name: str,
    tokenizer: Any,
    *,
    path: str | Path | None = None,
    revision: str | None = None,
    questions: int | None = None,
    shots: int = 0,
    shots_path: str | Path | None = None,
    template: Template | None = None,
    rewards: Sequence[str] = (),
    max_prompt_tokens: int | None = None,
) -> AskedQuestions:
    """Return the questions of a named set; see `load_eval_set` for the arguments.

    Args:
        name: one of `EVAL_SETS`.
        tokenizer: the policy's.
        path: a local file or directory in place of the hub.
        revision: commit or tag on the hub.
        questions: how many; None asks all.
        shots: worked examples before each question.
        shots_path: where they come from.
        template: None takes "chat" for a tokenizer with a chat template and "none" otherwise.
        rewards: further ones to report beside the set's own grader.
        max_prompt_tokens: longest prompt kept, in tokens.

    Raises:
        ValueError: what `load_eval_set` rejects, or a set that cannot be graded.
    """
    template = template or usual_template(tokenizer)
    loaded = load_eval_set(
        name,
        path=path,
        revision=revision,
        questions=questions,
        shots=shots,
        shots_path=shots_path,
        template=template,
        tokenizer=tokenizer,
        max_prompt_tokens=max_prompt_tokens,
    )
    return AskedQuestions(
        name=name,
        source=loaded.source,
        questions=loaded.questions,
        rewards=[*loaded.set.rewards(), *(RewardSpec.resolve(reward) for reward in rewards)],
        template=template,
        shots=shots,
        samples=loaded.set.samples or USUAL_SAMPLES,
    )


def ask_data(
    path: str,
    tokenizer: Any,
    *,
    prompt: str = "prompt",
    answer: str = "answer",
    questions: int | None = None,
    template: Template | None = None,
    rewards: Sequence[str] = (),
    max_prompt_tokens: int | None = None,
) -> AskedQuestions:
    """Return the questions of a file, directory or hub data set.

    Args:
        path: as in a recipe's data table; of a directory or hub data set the split "test".
        tokenizer: the policy's.
        prompt: column of the questions.
        answer: column of the golds.
        questions: how many, the first ones; None asks all.
        template: as for `ask_set`.
        rewards: what grades; none takes "accuracy".
        max_prompt_tokens: longest prompt kept, in tokens.

    Raises:
        ValueError: the data cannot be read or has no such columns.
    """
    template = template or usual_template(tokenizer)
    spec = DataSpec(
        path=path, split="test", prompt=prompt, answer=answer, template=template, limit=questions
    )
    found = load_questions(spec, tokenizer=tokenizer, max_prompt_tokens=max_prompt_tokens)
    specs = [RewardSpec.resolve(reward) for reward in rewards or ["accuracy"]]
    return AskedQuestions(Path(path).stem, path, found, specs, template)


def ask_world(
    world: str, questions: int | None = None, rewards: Sequence[str] = ()
) -> AskedQuestions:
    """Return the first questions of an embedded world's split "eval", 200 unless told.

    Args:
        world: its name.
        questions: how many.
        rewards: what grades; none takes "accuracy" and "format".

    Raises:
        ValueError: no such world or reward.
    """
    spec = DataSpec(world=world, split="eval", limit=questions or 200)
    specs = [RewardSpec.resolve(reward) for reward in rewards or ["accuracy", "format"]]
    return AskedQuestions(world, spec.source, load_questions(spec), specs, "none")


def usual_template(tokenizer: Any) -> Template:
    """Return "chat" for a tokenizer that has a chat template, else "none"."""
    return "chat" if getattr(tokenizer, "chat_template", None) else "none"

"""Which keys of a `data` table are read where: one that is not read there is an error."""

from __future__ import annotations

from typing import Literal

from r1core.data import DataSpec

Use = Literal["train", "mixture", "ask", "source", "imitate", "judge"]
"""What a table is for: prompts to train on, a mixture's, questions that are only asked, a source's
questions, examples to imitate, rows of a reward model."""

QUESTIONS: tuple[Use, ...] = ("train", "mixture", "ask", "source")
READ_FOR: dict[str, tuple[Use, ...]] = {
    "pass_rate": ("train",),
    "order": ("train", "mixture"),
    "order_by": ("train", "mixture"),
    "columns": QUESTIONS,
    "max_prompt_length": QUESTIONS,
    "prompt": (*QUESTIONS, "imitate"),
    "completion": (*QUESTIONS, "imitate"),  # of questions too: decontaminate looks there
    "template": (*QUESTIONS, "imitate"),
    "decontaminate": (*QUESTIONS, "imitate"),
}
"""Every key that some use does not read."""

READERS: dict[Use, str] = {
    "train": "data of reasoning_rl, preference_rl and ppo",
    "mixture": "their mixture",
    "ask": "evaluation_data of these, data of evaluate and benchmark",
    "source": "sources of cold_start, rejection_sampling and preferences",
    "imitate": "data of sft and distill",
    "judge": "data of reward_model",
}


def check_read(name: str, spec: DataSpec, use: Use) -> None:
    """Check that every key that a table sets is read for its use.

    Args:
        name: of the table, for messages.
        spec: the table.
        use: what it is for.

    Raises:
        ValueError: a key that would be ignored; the message says who reads it.
    """
    for key, uses in READ_FOR.items():
        value = getattr(spec, key)
        # not by what was written: a run's recipe.toml has every default written out
        default = DataSpec.model_fields[key].get_default(call_default_factory=True)
        if use not in uses and value != default:
            readers = "; ".join(READERS[reader] for reader in uses)
            raise ValueError(f"{name}.{key} is not read here, only by: {readers}; got {value!r}")

"""A reward model: a policy's backbone with a scalar head (DeepSeek-R1, section 3.1).

An ordinary `AutoModelForSequenceClassification` with one label, so TRL takes its directory as a
reward, too. Calling it is a reward function in TRL's shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from r1core.forward import ForwardKind, training_forward
from r1core.load_checks import why_no_directory
from r1core.policy import Policy
from r1core.rewards.functions import Completion, text_of

Part = Literal["summary", "all"]
PART_KEY = "r1core_part"  # in the saved configuration
TOKENS_AT_ONCE = 32_768  # of sequences scored together, padded to the longest


class RewardModel:
    """Scores answers to prompts.

    Attributes:
        model: the sequence classifier; one label.
        tokenizer: of the policy that it came from.
        part: what of a completion is judged: "summary" is what follows </think> (helpfulness
            looks at nothing else), "all" the whole of it (harmlessness).
        name: what its rewards are reported under.
        forward: by which kernels it runs.
        gradient_checkpointing: keep each layer's input alone and compute the rest again.
    """

    forward: ForwardKind = "auto"
    gradient_checkpointing = False

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        part: Part,
        name: str = "reward_model",
    ) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.part, self.__name__ = part, name

    @classmethod
    def from_policy(cls, policy: Policy, part: Part = "all", *, seed: int = 0) -> RewardModel:
        """Return a model on a copy of a policy's backbone; its head starts at zero.

        Raises:
            ValueError: the policy has no tokenizer.
        """
        if policy.tokenizer is None:
            raise ValueError("RewardModel: the policy must have a tokenizer")
        config = policy.model.config.__class__.from_dict(policy.model.config.to_dict())
        config.num_labels, config.pad_token_id = 1, policy.model.config.pad_token_id or 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModelForSequenceClassification.from_config(config, dtype=policy.model.dtype)
        model.base_model.load_state_dict(policy.model.base_model.state_dict())
        torch.nn.init.zeros_(model.score.weight)
        return cls(model, policy.tokenizer, part).trained_like(policy)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, part: Part | None = None, *, name: str = "reward_model"
    ) -> RewardModel:
        """Load a directory that `save_pretrained` wrote, or a hub name.

        Args:
            path: where it is.
            part: what it judges; None for what it was trained on, or else all.
            name: what its rewards are reported under.

        Raises:
            ValueError: there is no such model.
        """
        if reason := why_no_directory(path):
            raise ValueError(f"RewardModel: cannot load one from {path}: {reason}")
        try:
            model = AutoModelForSequenceClassification.from_pretrained(path)
            tokenizer = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError) as error:
            line = " ".join(str(error).split())[:300]
            raise ValueError(f"RewardModel: cannot load one from {path}: {line}") from None
        trained_on: Part = getattr(model.config, PART_KEY, "all")
        return cls(model, tokenizer, part or trained_on, name)

    def trained_like(self, policy: Policy) -> RewardModel:
        """Take a policy's device and training forward; return the model itself."""
        self.model.to(policy.device)
        self.forward = policy.forward
        self.gradient_checkpointing = policy.gradient_checkpointing
        return self

    def save_pretrained(self, path: str | Path) -> None:
        """Write an ordinary Hugging Face directory."""
        setattr(self.model.config, PART_KEY, self.part)
        self.model.save_pretrained(path)
        self.tokenizer.save_pretrained(path)

    def judged(self, completion: str) -> str:
        """Return the part of a completion that this model looks at."""
        return completion.rpartition("</think>")[2] if self.part == "summary" else completion

    def encode(self, prompt: Any, completion: str) -> list[int]:
        """Return the ids of a prompt and the part of its completion that is judged, and a stop."""
        if isinstance(prompt, str):
            head = list(self.tokenizer(prompt)["input_ids"])
        else:
            head = list(
                self.tokenizer.apply_chat_template(
                    prompt, add_generation_prompt=True, tokenize=True, return_dict=False
                )
            )
        tail = self.tokenizer(self.judged(completion), add_special_tokens=False)["input_ids"]
        return [*head, *tail, self.tokenizer.eos_token_id]

    def scores(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Return the scores of encoded sequences, float32 [R]; differentiable.

        The score is read at the last token.
        """
        forward = training_forward(
            self.model, self.forward, gradient_checkpointing=self.gradient_checkpointing
        )
        hidden_RH = forward.last_hidden(sequences)
        scores_R: Tensor = self.model.score(hidden_RH).squeeze(-1).float()
        return scores_R

    @torch.no_grad()
    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any
    ) -> list[float]:
        """Score N completions: a reward function in TRL's shape."""
        encoded = [
            self.encode(prompt, text_of(completion))
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        left = sorted(range(len(encoded)), key=lambda n: -len(encoded[n]))  # little padding
        scores = [0.0] * len(encoded)
        while left:
            count = max(1, TOKENS_AT_ONCE // len(encoded[left[0]]))
            rows, left = left[:count], left[count:]
            found = self.scores([encoded[n] for n in rows]).tolist()
            for n, score in zip(rows, found, strict=True):
                scores[n] = score
        return scores

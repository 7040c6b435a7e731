"""A policy: a Hugging Face causal LM, its tokenizer, and the engine that samples from its weights.

Shapes: P prompts, N rollouts, T completion positions, M packed completion tokens, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from r1core import hf_sampling, lora
from r1core.engine import Engine, Generated, OnStep
from r1core.forward import (
    ForwardKind,
    Layout,
    TrainingForward,
    native_reason,
    rollout_logprobs,
    training_forward,
)
from r1core.hf_forward import checkpointing_layers
from r1core.load_checks import check_device, check_dtype, why_no_directory
from r1core.notices import say_once
from r1core.stop_strings import StopStrings
from r1core.types import Prompt, Rollouts, SamplingParams

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")


TRACE_BYTES = 128 * 2**20
"""Of what the engine made of sampled tokens, the most that is kept for the update."""


class Policy:
    """A causal LM to sample from and to train; one set of weights for both.

    Attributes:
        model: the Hugging Face module; its parameters are the only copy of the weights.
        tokenizer: text <-> ids; None where the caller works on ids alone.
        forward: "native" trains by the engine's kernels, "hf" by the module's own forward; "auto"
            by the engine's where its table describes the model.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> None:
        """Bind an engine to the model.

        Raises:
            ValueError: the tokenizer has ids that the model has no embedding for.
        """
        rows = model.get_input_embeddings().weight.shape[0]
        if tokenizer is not None and len(tokenizer) > rows:
            raise ValueError(
                f"Policy: tokenizer must fit the model; it has {len(tokenizer)} ids and the "
                f"model's embedding {rows} rows: use the tokenizer saved with this model"
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.forward: ForwardKind = "auto"
        self._gradient_checkpointing = False
        if reason := Engine.supports(model):
            say_once(f"sampling through the model's own forward, not the engine: {reason}")

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dtype: str | torch.dtype = "float32",
        device: str | torch.device = "cpu",
    ) -> Policy:
        """Load a causal LM and its tokenizer from a directory or the hub.

        Args:
            path: a directory written by save_pretrained, or a hub name.
            dtype: of the parameters: "float32" or "bfloat16", or torch's own.
            device: where they live: "cpu", "cuda" or "cuda:1".

        Raises:
            ValueError: no such model, dtype or device, or a tokenizer that does not fit the model.
        """
        kind, place = check_dtype(dtype), check_device(device)
        if reason := why_no_directory(path):
            raise ValueError(f"Policy: cannot load a causal LM from {path}: {reason}")
        try:
            model = AutoModelForCausalLM.from_pretrained(path, dtype=kind)
        except Exception as error:  # noqa: BLE001 - so do corrupted files
            raise ValueError(
                f"Policy: cannot load a causal LM from {path}: {_line(error)}"
            ) from None
        if Path(path).is_dir() and not any(
            (Path(path) / name).exists() for name in TOKENIZER_FILES
        ):
            # transformers would make up an empty tokenizer of the model's type
            raise ValueError(
                f"Policy: cannot load a tokenizer from {path}: it holds none of its files"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(path)
        except Exception as error:  # noqa: BLE001 - tokenizers raise what they like
            raise ValueError(
                f"Policy: cannot load a tokenizer from {path}: {_line(error)}"
            ) from None
        return cls(model.to(place), tokenizer)

    @classmethod
    def from_config(
        cls,
        config: PretrainedConfig,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        seed: int = 0,
    ) -> Policy:
        """Return a policy with random float32 weights; the global generator is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        return cls(model, tokenizer)

    @property
    def engine(self) -> Engine | None:
        """The engine on the module's own parameters.

        None where its table does not describe the module as it is now (another architecture, dtype
        or device); then the module's own forward samples.
        """
        return Engine(self.model) if Engine.supports(self.model) is None else None

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        device: torch.device = self.model.device
        return device

    @property
    def max_context(self) -> int | None:
        """Longest prompt plus completion in tokens; None where the config does not say."""
        return getattr(self.model.config, "max_position_embeddings", None)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over the model's parameters."""
        yield from self.model.parameters()

    def stop_token_ids(self) -> tuple[int, ...]:
        """Return the ids that end a completion: the generation config's and the tokenizer's."""
        eos = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = list(eos) if isinstance(eos, (list, tuple)) else [eos]
        if self.tokenizer is not None:
            ids.append(self.tokenizer.eos_token_id)
        return tuple(dict.fromkeys(int(i) for i in ids if i is not None))

    def encode(self, prompts: Sequence[Prompt]) -> list[Tensor]:
        """Return each prompt's token ids, int64.

        Text is used verbatim, with the special tokens the tokenizer adds by itself, but never a
        second BOS; messages go through the chat template with its generation prompt; ids stay.

        Raises:
            ValueError: an empty prompt, text without a tokenizer, messages without a template.
        """
        encoded = [torch.tensor(self._encode(prompt), dtype=torch.int64) for prompt in prompts]
        for p, tokens in enumerate(encoded):
            if len(tokens) == 0:
                raise ValueError(f"Policy.encode: prompts must not be empty; prompt {p} is")
        return encoded

    def _encode(self, prompt: Prompt) -> list[int]:
        if not isinstance(prompt, str) and (not prompt or isinstance(prompt[0], int)):
            return list(prompt)  # type: ignore[arg-type]
        if self.tokenizer is None:
            raise ValueError(
                "Policy.encode: a prompt of text needs a tokenizer; this policy has none"
            )
        if isinstance(prompt, str):
            bos = self.tokenizer.bos_token
            doubled = bool(bos) and prompt.startswith(bos)
            return list(self.tokenizer(prompt, add_special_tokens=not doubled)["input_ids"])
        if self.tokenizer.chat_template is None:
            raise ValueError(
                "Policy.encode: messages need a chat template and this tokenizer has none; "
                'use a model with one, or template = "r1_zero"'
            )
        return list(
            self.tokenizer.apply_chat_template(
                prompt, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        )

    def completion_prefix(self, prompt: Prompt) -> str:
        """Return the tag that the chat template opened for the completion, or nothing."""
        if isinstance(prompt, str) or not prompt or isinstance(prompt[0], int):
            return ""
        assert self.tokenizer is not None
        text = self.tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, tokenize=False
        )
        opened = text.rstrip().endswith("<think>")
        return str(text[text.rindex("<think>") :]) if opened else ""

    def generate(
        self,
        prompts: Sequence[Tensor],
        params: SamplingParams,
        stop_token_ids: Sequence[int],
        prompt_uids: Sequence[int],
        on_step: OnStep | None = None,
        *,
        seeds: Sequence[int] | None = None,
        stop_strings: StopStrings | None = None,
        keep_trace: bool = False,
    ) -> Generated:
        """Draw params.n completions of each prompt; see `r1core.sample_groups`."""
        engine = self.engine
        useful = (
            keep_trace
            and self.forward != "hf"
            and not self.gradient_checkpointing
            and native_reason(self.model) is None
        )
        generate = (
            partial(engine.generate, trace_bytes=TRACE_BYTES if useful else 0)
            if engine
            else partial(hf_sampling.generate, self.model)
        )
        return generate(
            prompts,
            params,
            stop_token_ids,
            prompt_uids,
            on_step,
            seeds=seeds,
            stop_strings=stop_strings,
        )

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether training keeps each layer's input alone and computes the rest again."""
        return self._gradient_checkpointing

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, on: bool) -> None:
        if on and not checkpointing_layers(self.model):
            raise ValueError(
                f"Policy: gradient_checkpointing needs a model whose layers transformers can run "
                f"again; {type(self.model).__name__} has none"
            )
        self._gradient_checkpointing = on

    @property
    def layout(self) -> Layout:
        """What the training forward runs on."""
        return self.training_forward().layout

    def training_forward(self) -> TrainingForward:
        """Return the forward pass that trains the policy as it is now, until its weights change."""
        forward: TrainingForward = training_forward(
            self.model, self.forward, gradient_checkpointing=self.gradient_checkpointing
        )
        return forward

    def logprobs(self, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """Score rollouts under the current parameters; differentiable.

        Args:
            rollouts: N completions; their sampling temperature divides the logits.

        Returns:
            logprobs_NT: float32, 0 beyond each row's length.
            entropies_NT: float32, nats, the same.
        """
        return rollout_logprobs(self.training_forward(), rollouts)

    def frozen_copy(self) -> Policy | lora.AdapterReference:
        """Return pi_ref, never trained: a copy; of LoRA an `AdapterReference`, used alike."""
        if lora.has_lora(self):
            return lora.AdapterReference.copy_of(self)
        frozen = Policy(copy.deepcopy(self.model).requires_grad_(False), self.tokenizer)
        frozen.forward = self.forward
        return frozen

    def trainable_copy(self) -> Policy:
        """Return a copy with its own weights, to train."""
        copied = lora.made_trainable(Policy(copy.deepcopy(self.model), self.tokenizer))
        copied.forward = self.forward
        copied.gradient_checkpointing = self.gradient_checkpointing
        return copied

    def load_from(self, other: Policy) -> None:
        """Overwrite the weights, in place, with another policy's."""
        with torch.no_grad():
            for mine, theirs in zip(self.parameters(), other.parameters(), strict=True):
                mine.copy_(theirs)

    def state_dict(self) -> dict[str, Tensor]:
        """Return every weight, by the module's names."""
        return self.model.state_dict()  # type: ignore[no-any-return]

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Overwrite the weights, in place, with those of a `state_dict`."""
        self.model.load_state_dict(state)

    def save_pretrained(self, path: str | Path) -> None:
        """Write a Hugging Face directory: model, or of LoRA a PEFT adapter, and tokenizer."""
        if lora.has_lora(self):
            lora.save_adapter(self, path)
        else:
            self.model.save_pretrained(path)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(path)


def _line(error: Exception) -> str:
    """Return the beginning of an exception's message, in one line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:300] + "…"


def describe(policy: Policy) -> dict[str, Any]:
    """Return what a report says about the model: type, parameters, dtype, sampler."""
    return {
        "type": policy.model.config.model_type,
        "parameters": sum(p.numel() for p in policy.parameters()),
        "dtype": str(policy.model.dtype).removeprefix("torch."),
        "sampler": "engine" if policy.engine is not None else "the model's own forward",
    }

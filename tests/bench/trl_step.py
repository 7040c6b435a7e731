"""TRL's GRPOTrainer on the CPU, with clocks around its own methods."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import Phases
from datasets import Dataset
from machine import start_of_peak
from models import GROUP, Workload
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainerState,
)
from trl import GRPOConfig, GRPOTrainer

MICRO_BATCH = 64  # completions; on two cores faster than all 512 in one


def train(
    workload: Workload,
    model: PreTrainedModel,
    reward: Callable[..., list[float]],
    folder: Path,
    *,
    beta: float,
    steps: int,
    on_step: Callable[[float, Phases, int | None], None],
) -> None:
    """Run GRPO steps of P x 16 completions of full length.

    Args:
        workload: prompts and lengths.
        model: the policy, as the workload's `policy` gives it.
        reward: TRL's call shape.
        folder: scratch space; with beta > 0 TRL reads its reference from disk.
        beta: KL coefficient.
        steps: optimizer steps.
        on_step: called after each with its seconds, phases, and, of the last one alone, the
            resident set before it: to measure that, the allocators must give back what they hold,
            and the step that follows pays for it.
    """
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    model.save_pretrained(folder / "policy")
    loaded = type(model).from_pretrained(
        folder / "policy", attn_implementation="sdpa", dtype=torch.float32
    )
    trainer = GRPOTrainer(
        model=loaded,
        reward_funcs=reward,
        args=settings(workload, folder, beta, steps),
        train_dataset=Dataset.from_dict({"prompt": prompts(workload, steps)}),
        processing_class=tokenizer(workload.config.vocab_size),
    )
    trainer.add_callback(StepClock(trainer, on_step))
    with contextlib.redirect_stdout(sys.stderr):
        trainer.train()


def settings(workload: Workload, folder: Path, beta: float, steps: int) -> GRPOConfig:
    """Return TRL's defaults, on the CPU in float32, without logging or checkpoints."""
    rows = workload.prompts * GROUP
    return GRPOConfig(
        output_dir=str(folder / "trainer"),
        use_cpu=True,
        use_vllm=False,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=rows // MICRO_BATCH,
        num_generations=GROUP,
        max_completion_length=workload.new_tokens,
        generation_kwargs={"min_new_tokens": workload.new_tokens},
        beta=beta,
        max_steps=steps,
        learning_rate=1e-6,
        report_to=[],
        save_strategy="no",
        logging_steps=1000,
        disable_tqdm=True,
    )


def prompts(workload: Workload, steps: int) -> list[str]:
    """Return a prompt per question of the run, as text of one word a token."""
    return [
        " ".join(f"t{token}" for token in row)
        for step in range(steps + 1)
        for row in workload.prompt_tokens(seed=step).tolist()
    ]


def tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose word "t<i>" is id i."""
    special = {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<unk>": 3}
    words = special | {f"t{i}": i for i in range(len(special), vocab_size)}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
    )


class StepClock(TrainerCallback):
    """Seconds of each step by phase, under the names of r1core's own metrics."""

    def __init__(
        self, trainer: GRPOTrainer, on_step: Callable[[float, Phases, int | None], None]
    ) -> None:
        self._on_step, self._phases = on_step, defaultdict[str, float](float)
        self._start = self._optimizer_start = 0.0
        self._resident: int | None = None
        self._clock(trainer, "_generate_single_turn", "sampling")
        self._clock(trainer, "_calculate_rewards", "rewards")
        # One method scores for the reference and, within the loss, for the policy.
        score = "_get_per_token_logps_and_entropies"
        self._clock(trainer, score, "reference", counts=lambda: not torch.is_grad_enabled())
        self._clock(trainer, "_compute_loss", "forward_backward")
        self._clock(trainer.accelerator, "backward", "forward_backward")

    def _clock(
        self, owner: Any, method: str, phase: str, counts: Callable[[], bool] = lambda: True
    ) -> None:
        """Add the seconds of each call of a method to a phase, where `counts()` holds."""
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            counted, start = counts(), time.perf_counter()
            result = original(*args, **kwargs)
            self._phases[phase] += counted * (time.perf_counter() - start)
            return result

        setattr(owner, method, timed)

    def on_step_begin(self, _: Any, state: TrainerState, *__: Any, **___: Any) -> None:
        self._phases.clear()
        last = state.global_step + 1 == state.max_steps
        self._resident = start_of_peak() if last else None
        self._start = time.perf_counter()

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._optimizer_start = time.perf_counter()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._phases["optimizer"] = time.perf_counter() - self._optimizer_start

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._on_step(time.perf_counter() - self._start, dict(self._phases), self._resident)

"""The moments of a stage and what each holds, by kind of stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from r1core.plan import module, native, parts
from r1core.plan.batch import Tokens, last_share, micro_batch, micro_batches
from r1core.plan.parts import Setup
from r1core.recipe_stages import (
    DatasetStage,
    EvaluateStage,
    PPOStage,
    ReasoningRLStage,
    RewardModelStage,
    SFTStage,
    Stage,
)
from r1core.reward_model import TOKENS_AT_ONCE

ASKED_TOGETHER = 1000  # answers of an evaluation that are drawn by one call

Parts = dict[str, int]


@dataclass(frozen=True)
class Moment:
    """What the device holds at some time of a stage.

    Attributes:
        name: "sampling", "update", ...
        parts: name -> bytes.
    """

    name: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class StagePlan:
    """What a stage needs.

    Attributes:
        name, kind: of the stage.
        moments: at least one.
        tokens: of the largest micro-batch; None where nothing trains.
    """

    name: str
    kind: str
    moments: tuple[Moment, ...]
    tokens: Tokens | None = None

    @property
    def peak(self) -> Moment:
        """The moment that holds most."""
        return max(self.moments, key=lambda moment: moment.total)


@dataclass(frozen=True)
class Around:
    """What is in memory around a stage's own model.

    Attributes:
        prompt: tokens of the longest prompt.
        other_models: bytes of the run's models that this stage neither trains nor samples.
        reward_models: setups of the models that grade, where they are on this device.
        judge: bytes of a local model that judges or rewrites.
    """

    prompt: int
    other_models: int = 0
    reward_models: tuple[Setup, ...] = ()
    judge: int = 0


def plan_stage(stage: Stage, setup: Setup, around: Around) -> StagePlan:
    """Return what a stage needs."""
    if isinstance(stage, ReasoningRLStage | PPOStage):
        return plan_rl(stage, setup, around)
    if isinstance(stage, SFTStage):
        return plan_sft(stage, setup, around)
    if isinstance(stage, RewardModelStage):
        return plan_reward_model(stage, setup, around)
    return plan_sampling(stage, setup, around)


def standing(setup: Setup, around: Around) -> Parts:
    """Return what is there in every moment of every stage."""
    return {
        "process": parts.process(setup.kind),
        "weights": parts.weights(setup),
        "other models": around.other_models,
    }


def training(setup: Setup) -> Parts:
    """Return what an optimizer adds, from its first step on."""
    return {
        "optimizer moments": parts.moments(setup.trained),
        "masters": parts.masters(setup.trained, setup.b),
    }


def critic_of(setup: Setup) -> Setup:
    """Return a critic as a setup: the backbone, all of it trained, and a row for a head."""
    shape = setup.shape
    backbone = replace(shape, parameters=shape.backbone + shape.hidden, vocab=1, tied=False)
    return replace(setup, shape=backbone, lora=None)


def plan_rl(stage: ReasoningRLStage | PPOStage, setup: Setup, around: Around) -> StagePlan:
    """Return the plan of `reasoning_rl`, `preference_rl` and `ppo`."""
    limit, n, has_critic = max(stage.length_limits()), stage.sampling.n, isinstance(stage, PPOStage)
    prompts = stage.questions_per_step * stage.minibatches
    floats = (stage.minibatches * stage.num_iterations > 1) + 2 * has_critic
    batch = parts.rollouts(prompts * n, limit, floats) if setup.kind == "cpu" else 0
    fixed = standing(setup, around) | training(setup)
    if stage.loss.beta > 0 and setup.lora is None:
        fixed["reference"] = parts.weights(setup)
    critic = critic_of(setup)
    if has_critic:
        fixed["critic"] = parts.weights(critic) + sum(training(critic).values())
    graders = [parts.weights(model) for model in around.reward_models]
    trace = native.trace(setup, prompts, n, around.prompt, stage.length_limits())
    fixed |= {"reward models": sum(graders), "rollouts": batch, "trace": trace}

    tokens = micro_batch(
        stage.tokens_per_micro_batch,
        stage.questions_per_step,
        n,
        around.prompt,
        limit,
        shared=setup.native,
    )
    accumulates = micro_batches(tokens, stage.questions_per_step, n) > 1
    last = last_share(tokens, stage.questions_per_step, n)
    drawn = sampling_parts(setup, prompts, n, around.prompt, limit)
    held = update_parts(setup, tokens, accumulates)
    settings = stage.evaluation
    length = settings.max_new_tokens or limit
    asked = sampling_parts(setup, settings.questions, settings.samples, around.prompt, length)
    more = {"gradients": parts.gradients(critic.trained)} if has_critic else {}
    moments = [
        Moment("sampling", fixed | drawn | pool_after(setup, held, tokens)),
        Moment("evaluation", fixed | asked | pool_after(setup, held, tokens)),
        Moment("update", add(fixed | held | pool_left(setup, drawn, tokens, held, last), more)),
        Moment(
            "optimizer step", add(fixed | stepping(setup) | pool_after(setup, held, tokens), more)
        ),
    ]
    if has_critic:
        own = update_parts(critic, tokens, accumulates, head=False)
        moments.append(Moment("critic update", fixed | own))
    for model in around.reward_models:
        together = max(1, TOKENS_AT_ONCE // (around.prompt + limit))
        scored = min(together, prompts * n)
        graded = Tokens(scored, scored, around.prompt, limit, shared=False)
        moments.append(Moment("rewards", fixed | {"activations": scoring(model, graded)}))
    return StagePlan(stage.name, stage.kind, tuple(moments), tokens)


def plan_sft(stage: SFTStage, setup: Setup, around: Around) -> StagePlan:
    """Return the plan of `sft` and `distill`: examples as long as `max_length`, or the budget."""
    budget = stage.tokens_per_micro_batch
    length = longest_example(setup, stage.max_length, budget)
    prompt = min(around.prompt, length // 2)
    tokens = micro_batch(budget, stage.batch_size, 1, prompt, length - prompt, shared=setup.native)
    return trained_on(stage, setup, around, tokens, micro_batches(tokens, stage.batch_size, 1) > 1)


def plan_reward_model(stage: RewardModelStage, setup: Setup, around: Around) -> StagePlan:
    """Return the plan of `reward_model`: it trains beside the policy that it was copied from."""
    width = 2 if stage.form == "pairs" else 1
    length = longest_example(setup, None, stage.tokens_per_micro_batch // width)
    rows = max(1, min(stage.batch_size, stage.tokens_per_micro_batch // (width * length)))
    tokens = Tokens(0, rows * width, length - 1, 1, shared=False)
    around = replace(around, other_models=around.other_models + parts.weights(setup))
    accumulates = rows < stage.batch_size
    return trained_on(stage, critic_of(setup), around, tokens, accumulates, head=False)


def trained_on(
    stage: SFTStage | RewardModelStage,
    setup: Setup,
    around: Around,
    tokens: Tokens,
    accumulates: bool,
    *,
    head: bool = True,
) -> StagePlan:
    """Return the plan of a stage that learns from examples."""
    fixed = standing(setup, around) | training(setup)
    held = update_parts(setup, tokens, accumulates, head=head)
    step = Moment("optimizer step", fixed | stepping(setup) | pool_after(setup, held, tokens))
    return StagePlan(stage.name, stage.kind, (Moment("update", fixed | held), step), tokens)


def longest_example(setup: Setup, max_length: int | None, budget: int) -> int:
    """Return how long an example may be; where the recipe does not say, a whole micro-batch."""
    known = [x for x in (max_length or budget, setup.shape.max_context) if x]
    return max(2, min(known))


def plan_sampling(stage: DatasetStage | EvaluateStage, setup: Setup, around: Around) -> StagePlan:
    """Return the plan of a stage that samples and does not train."""
    fixed = standing(setup, around) | {"judge": around.judge}
    if isinstance(stage, EvaluateStage):
        n, limit = stage.samples or 4, stage.max_new_tokens
        prompts = -(-ASKED_TOGETHER // n)
    else:
        n, limit = stage.sampling.n, stage.sampling.max_new_tokens
        prompts = stage.questions_per_step
    if setup.kind == "cpu":
        fixed["rollouts"] = parts.rollouts(prompts * n, limit)
    drawn = sampling_parts(setup, prompts, n, around.prompt, limit)
    return StagePlan(stage.name, stage.kind, (Moment("sampling", fixed | drawn),))


def sampling_parts(setup: Setup, prompts: int, n: int, prompt: int, limit: int) -> Parts:
    """Return what drawing n completions of each prompt adds."""
    if setup.engine:
        return {
            "KV cache": native.sampling_cache(setup, prompts, n, prompt, limit),
            "workspace": native.sampling_workspace(setup),
        }
    return {
        "KV cache": module.sampling_cache(setup, prompts, n, prompt, limit),
        "workspace": module.sampling_workspace(setup, prompts, n, prompt),
    }


def update_parts(setup: Setup, tokens: Tokens, accumulates: bool, *, head: bool = True) -> Parts:
    """Return what the backward pass of a micro-batch adds, at its worst."""
    by = native if setup.native else module
    kept, scratch = by.kept_activations(setup, tokens), by.backward_scratch(setup, tokens)
    logits = by.head_logits(setup, tokens) if head else 0
    if not setup.native:  # the logits are gone when the layers' gradients come
        scratch = max(0, scratch - logits)
    return {
        "gradients": parts.gradients(setup.trained),
        "gradients in flight": parts.gradients_in_flight(setup, setup.trained, accumulates),
        "activations": kept + scratch,
        "logits": logits,
        "malloc": by.malloc_holes(setup, tokens),
    }


def stepping(setup: Setup) -> Parts:
    """Return what the optimizer's step adds."""
    return {
        "gradients": parts.gradients(setup.trained),
        "workspace": parts.optimizer_step(setup, setup.trained, setup.largest),
    }


def scoring(setup: Setup, tokens: Tokens) -> int:
    """Return the activations of a forward pass without gradient."""
    return native.scoring(setup, tokens) if setup.native else module.scoring(setup, tokens)


def pool_left(setup: Setup, drawn: Parts, tokens: Tokens, held: Parts, last: float) -> Parts:
    """Return what the engine's pool holds beside a micro-batch: of sampling, and of the last one.

    Not keys and values, which nobody keeps.

    The last micro-batch's buffers are too small for the others, which have none to spare for it
    once they differ by more than a fifth.
    """
    if not setup.engine:
        return {}
    used = held["activations"] - native.training_cache(setup, tokens)
    smaller = int(last * used) if setup.native and last < 0.8 else 0
    return {"engine's pool": native.pooled(drawn["workspace"] + smaller)}


def pool_after(setup: Setup, held: Parts, tokens: Tokens) -> Parts:
    """Return what the engine's pool holds of a micro-batch after it: all but keys and values."""
    if not setup.native:
        return {}
    used = held["activations"] - native.training_cache(setup, tokens) + held["logits"]
    return {"engine's pool": native.pooled(used)}


def add(one: Parts, other: Parts) -> Parts:
    """Return the sum, part by part."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in one | other}

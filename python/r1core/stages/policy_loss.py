"""The loss of a micro-batch (DeepSeek-R1, equations 1 and 2), by the shorter of two ways.

    together:  logits -> log-probabilities -> d loss / d logits, row by row; the head runs once
    apart:     log-probabilities of all rows -> loss; the backward pass computes the logits again,
               or has kept them, of a model that does more to them than its head does

A token's gradient often follows from its own log-probability and what was known before; then the
two need not be apart. Log-probabilities, loss and gradient are the same.

Shapes: R rows of a micro-batch, T positions, M their packed completion tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from r1core.forward import TrainingForward, rollout_logprobs
from r1core.grpo_loss import LossConfig, LossMetrics, LossNormalizer, grpo_loss
from r1core.importance import distinct_ratios, importance_weights
from r1core.loss_tokens import pack_tokens
from r1core.stages.minibatches import Rows
from r1core.stages.rl_config import RLConfig


@dataclass(frozen=True)
class PolicyLoss:
    """The loss of some rows, and what was computed on the way.

    Attributes:
        loss: scalar; differentiable, once.
        metrics: its averages.
        logprobs_RT: float32 [R, T] under the policy, without a graph; 0 where a token does not
            count in the loss.
        ratios: importance weights for the log, of any length; None without them.
    """

    loss: Tensor
    metrics: LossMetrics
    logprobs_RT: Tensor
    ratios: Tensor | None


def policy_loss(
    forward: TrainingForward,
    rows: Rows,
    config: RLConfig,
    *,
    loss: LossConfig,
    normalizer: LossNormalizer,
    reference_logprobs: Tensor | None,
) -> PolicyLoss:
    """Score rows under the policy and return their loss.

    Args:
        forward: of pi_theta, as it is for this update.
        rows: their advantages, and the log-probabilities of the policy that sampled.
        config: whether and how tokens are weighed against the sampler.
        loss: the variant, as it is for this update.
        normalizer: of the whole minibatch.
        reference_logprobs: float32 [R, T] under pi_ref; required where loss.beta > 0.
    """
    way = together if _known(rows, config, loss) and forward.fuses_loss else apart
    return way(forward, rows, config, loss, normalizer, reference_logprobs)


def _known(rows: Rows, config: RLConfig, loss: LossConfig) -> bool:
    """Tell whether a token's gradient follows from its own log-probability."""
    weighed_by_this_forward = config.importance_sampling_mode and rows.old_logprobs_RT is None
    return loss.importance_sampling_level == "token" and not weighed_by_this_forward


def together(
    forward: TrainingForward,
    rows: Rows,
    config: RLConfig,
    loss: LossConfig,
    normalizer: LossNormalizer,
    reference_RT: Tensor | None,
) -> PolicyLoss:
    """Turn each row of logits into its gradient as soon as it is scored."""
    inside_RT = rows.rollouts.inside_NT

    index_M = inside_RT.flatten().nonzero().flatten()

    def pack(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        return tensor.flatten()[index_M.to(tensor.device, non_blocking=True)]

    weights_RT, ratios = _sampler_weights(rows.old_logprobs_RT, rows, config)
    per_token, lengths_R = rows.advantages.ndim == 2, rows.rollouts.lengths_N
    packed = pack_tokens(
        "policy_loss",
        int(lengths_R.sum()),
        torch.cat([torch.zeros(1, dtype=torch.int64), lengths_R.cumsum(0)]),
        rows.advantages[inside_RT] if per_token else rows.advantages,
        mask=rows.mask_RT[inside_RT],
        old_logprobs=pack(rows.old_logprobs_RT),  # None: pi_theta itself, the ratio is 1
        reference_logprobs=pack(reference_RT),
        importance_weights=pack(weights_RT),
        normalizer=normalizer,
        config=loss,
    )
    value, metrics, logprobs_M = forward.completion_loss(rows.rollouts, packed)
    logprobs_RT = torch.zeros(inside_RT.shape).masked_scatter(inside_RT, logprobs_M.cpu())
    return PolicyLoss(value, metrics, logprobs_RT, ratios)


def apart(
    forward: TrainingForward,
    rows: Rows,
    config: RLConfig,
    loss: LossConfig,
    normalizer: LossNormalizer,
    reference_RT: Tensor | None,
) -> PolicyLoss:
    """Score every row before the loss; by whichever forward the policy trains."""
    logprobs_RT, entropies_RT = rollout_logprobs(forward, rows.rollouts)
    if loss.entropy_coef == 0:
        entropies_RT = entropies_RT.detach()
    weights_RT, ratios = _sampler_weights(rows.sampler_policy(logprobs_RT), rows, config)
    value, metrics = grpo_loss(
        logprobs_RT,
        rows.advantages,
        mask=rows.mask_RT,
        old_logprobs=rows.old_logprobs_RT,  # None: logprobs_RT itself, the ratio is 1
        reference_logprobs=reference_RT,
        importance_weights=weights_RT,
        entropies=entropies_RT,
        normalizer=normalizer,
        config=loss,
    )
    return PolicyLoss(value, metrics, logprobs_RT.detach(), ratios)


def _sampler_weights(
    logprobs_RT: Tensor | None, rows: Rows, config: RLConfig
) -> tuple[Tensor | None, Tensor | None]:
    """Return importance weights [R, T] against the sampler and their values for the log.

    Args:
        logprobs_RT: the trainer's, under the weights that sampled; not read without a mode.
        rows: the sampler's.
        config: the mode, and the largest weight.
    """
    mode = config.importance_sampling_mode
    if mode is None or logprobs_RT is None:
        return None, None
    weights_RT = importance_weights(
        logprobs_RT,
        rows.rollouts.logprobs_NT,
        rows.mask_RT,
        mode=mode,
        clip_max=config.importance_sampling_clip_max,
    )
    return weights_RT, distinct_ratios(weights_RT, rows.mask_RT, mode)

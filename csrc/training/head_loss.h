#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "csrc/engine/spec.h"
#include "csrc/grpo_loss.h"

namespace r1::training {

/// A loss over the head's log-probabilities, with its gradients.
struct HeadLoss {
  at::Tensor sums;                    // see r1::sums_tensor
  at::Tensor logprobs;                // float32 [M], 0 where a token does not count
  std::vector<at::Tensor> gradients;  // of hidden, weight, bias, a, b; undefined where not wanted
};

/// What `head_logprobs`, the loss and `head_logprobs_backward` give one after the other, from
/// logits that are computed once: a token's gradient follows from its own log-probability, so its
/// row of logits becomes the gradient while it is at hand. Three products instead of four.
///
/// Numerics: log-probabilities and the gradients of the matrices have the bits of the three steps.
///           A bias's gradient does unless a token that counts has a gradient of exactly 0: that
///           row takes a lane here and none there.
///
/// @param head            the projection onto the vocabulary
/// @param hidden          float32 [M, hidden], contiguous
/// @param tokens          int64 [M], in [0, vocab)
/// @param loss            of those tokens; where one does not count its logits are not computed
/// @param options         without a ratio per sequence
/// @param entropy_weight  the loss has -entropy_weight times the sum of the counted entropies
/// @throws std::invalid_argument  another dtype, shape or ratio, or an unknown token
HeadLoss head_loss(const engine::Linear& head, const at::Tensor& hidden, const at::Tensor& tokens,
                   const GrpoTokens& loss, const kernels::GrpoLossOptions& options,
                   double temperature, double entropy_weight, const std::vector<bool>& wanted,
                   int threads, const std::function<void()>& poll);

}  // namespace r1::training

#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "csrc/engine/spec.h"

namespace r1::training {

/// Rejects, in the name of `function`, what the head cannot score.
void check_head(const char* function, const engine::Linear& head, const at::Tensor& hidden,
                const at::Tensor& tokens, double temperature, int threads);

/// What `head_logprobs` gives: float32 [M] each, and the softmaxes' statistics, float64 [M, 3].
struct HeadScores {
  at::Tensor logprobs, entropies, statistics;
};

/// Log-probabilities of one token after each hidden state, and the entropies, in nats, with the
/// kernels that sample. No logits but those of a few rows exist at a time.
///
/// @param head    the projection onto the vocabulary
/// @param hidden  float32 [M, hidden], contiguous
/// @param tokens  int64 [M], in [0, vocab)
/// @throws std::invalid_argument  another dtype or shape, or an unknown token
HeadScores head_logprobs(const engine::Linear& head, const at::Tensor& hidden,
                         const at::Tensor& tokens, double temperature, int threads,
                         const std::function<void()>& poll);

/// Gradients of `hidden`, then of the head's weight, bias, a and b as far as it has them; undefined
/// where not wanted. Rows whose two gradients are 0 cost nothing. Logits are computed again.
std::vector<at::Tensor> head_logprobs_backward(const engine::Linear& head, const at::Tensor& hidden,
                                               const at::Tensor& tokens,
                                               const at::Tensor& statistics,
                                               const at::Tensor& grad_logprobs,
                                               const at::Tensor& grad_entropies, double temperature,
                                               const std::vector<bool>& wanted, int threads,
                                               const std::function<void()>& poll);

}  // namespace r1::training

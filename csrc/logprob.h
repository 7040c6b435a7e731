#pragma once
#include <ATen/core/Tensor.h>

#include <tuple>

namespace r1 {
/// logits [M, V] float32, bfloat16 or float64, tokens [M] int64 -> log-probabilities and entropies,
/// each [M], float32 (float64 for float64 logits); see kernels/logprob.h.
std::tuple<at::Tensor, at::Tensor> token_logprobs(const at::Tensor& logits,
                                                  const at::Tensor& tokens, double temperature);

/// The gradient with respect to the logits, [M, V] in their dtype.
at::Tensor token_logprobs_backward(const at::Tensor& logits, const at::Tensor& tokens,
                                   const at::Tensor& grad_logprobs,
                                   const at::Tensor& grad_entropies, double temperature);
}  // namespace r1

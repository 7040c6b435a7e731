#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <tuple>

#include "kernels/grpo_loss.h"

namespace r1 {
/// One pass over [N, T] log-probabilities: the loss, its gradient and sums for the metrics.
///
/// @param logprobs, old_logprobs, reference_logprobs, importance_weights  [N, T] float32 or float64
/// @param advantages   [N] or [N, T]
/// @param mask         [N, T] bool
/// @param row_weights  [N]
/// @return loss [] and gradient [N, T] in the dtype of `logprobs`, and float64 [4]: sums of kl,
///         tokens, low-clipped and high-clipped tokens; see kernels/grpo_loss.h
std::tuple<at::Tensor, at::Tensor, at::Tensor> grpo_loss(
    const at::Tensor& logprobs, const at::Tensor& advantages, const at::Tensor& mask,
    const at::Tensor& row_weights, const std::optional<at::Tensor>& old_logprobs,
    const std::optional<at::Tensor>& reference_logprobs,
    const std::optional<at::Tensor>& importance_weights, double ratio_min, double ratio_max,
    double delta, double beta, std::int64_t kl_estimator, bool sequence_ratio);
}  // namespace r1

#pragma once
#include "csrc/grpo_loss.h"

namespace r1 {
/// The door from logits: the sums of sums_tensor; with `in_place` the gradient with respect to the
/// logits overwrites them (0 in the rows of tokens that do not count).
///
/// @param logits          [M, V] float32 or bfloat16; contiguous where `in_place`
/// @param ids             [M] int64
/// @param entropy_weight  the gradient is that of loss - entropy_weight * entropy
at::Tensor grpo_loss_from_logits(const at::Tensor& logits, const at::Tensor& ids,
                                 const GrpoTokens& tokens, const kernels::GrpoLossOptions& options,
                                 double temperature, double entropy_weight, bool in_place,
                                 std::int64_t stream);
}  // namespace r1

#pragma once
#include <optional>

#include "csrc/grpo_loss.h"

namespace r1 {

/// Which gradients the door from hidden states shall give.
struct HeadGradients {
  bool hidden, weight, bias;
};

/// A loss and its gradients, each undefined where not asked for.
struct HiddenLoss {
  at::Tensor sums;      // see sums_tensor
  at::Tensor logprobs;  // [M] float32
  at::Tensor hidden;    // [M, H]
  at::Tensor weight;    // [V, H]
  at::Tensor bias;      // [V]
};

/// The door from hidden states: logits = hidden weight^T + bias, a chunk of rows at a time, each
/// turned into its gradient in place and then into the gradients of its factors:
///
///     d hidden = d logits weight,   d weight = sum over chunks of d logits^T hidden
///
/// A ratio per sequence needs every row's log-probability first: with more than one chunk their
/// logits are computed twice.
///
/// Numerics: logits, their gradient and all sums in float32; bfloat16 factors are widened, the
/// weight a panel of the vocabulary at a time, since at::mm would round the logits to bfloat16.
///           The gradients are rounded once, to their factor's dtype.
///
/// @param hidden        [M, H] float32 or bfloat16, tokens that count
/// @param weight        [V, H] float32 or bfloat16
/// @param bias          [V], or none
/// @param budget_bytes  of a chunk of logits, at least one row
/// @param stream        of the factors' GPU; 0 on the CPU
HiddenLoss grpo_loss_from_hidden(const at::Tensor& hidden, const at::Tensor& weight,
                                 const std::optional<at::Tensor>& bias, const at::Tensor& ids,
                                 const GrpoTokens& tokens, const kernels::GrpoLossOptions& options,
                                 double temperature, double entropy_weight,
                                 std::int64_t budget_bytes, const HeadGradients& wanted,
                                 std::int64_t stream);

/// The same on a GPU; two bfloat16 factors run on its matrix units, whose sums stay float32.
HiddenLoss grpo_loss_from_hidden_cuda(const at::Tensor& hidden, const at::Tensor& weight,
                                      const std::optional<at::Tensor>& bias, const at::Tensor& ids,
                                      const GrpoTokens& tokens,
                                      const kernels::GrpoLossOptions& options, double temperature,
                                      double entropy_weight, std::int64_t budget_bytes,
                                      const HeadGradients& wanted, std::int64_t stream);
}  // namespace r1

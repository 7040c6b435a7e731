#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <tuple>

#include "kernels/grpo_loss.h"

namespace r1 {

/// What the tokens' loss depends on besides their log-probabilities, kept alive for the kernels;
/// see kernels::GrpoTokens.
class GrpoTokens {
 public:
  /// @param sequence_starts  [N + 1] int64, from 0, not decreasing
  /// The others hold one float32 or float64 value per token, in any shape; they go to the device of
  /// `weights`.
  GrpoTokens(const at::Tensor& sequence_starts, const at::Tensor& advantages,
             const at::Tensor& weights, const std::optional<at::Tensor>& old_logprobs,
             const std::optional<at::Tensor>& reference_logprobs,
             const std::optional<at::Tensor>& importance_weights);

  std::int64_t size() const { return weights_.numel(); }  // M
  const at::Tensor& weights() const { return weights_; }
  const at::Tensor& starts() const { return starts_; }
  /// On the CPU.
  bool counts(std::int64_t m) const { return weight_[m] != 0; }
  /// Pointers to the values from token `m` on.
  kernels::GrpoTokens from(std::int64_t m) const;

  /// Loss and gradient of all tokens; `logprobs` and `grad_logprobs` are [M].
  kernels::GrpoLossSums loss(const double* logprobs, const kernels::GrpoLossOptions& options,
                             double* grad_logprobs) const;
  /// The gradient of one token, where its ratio is its own.
  double token_gradient(double logprob, std::int64_t m,
                        const kernels::GrpoLossOptions& options) const;

 private:
  at::Tensor starts_, advantages_, weights_, old_logprobs_, reference_logprobs_,
      importance_weights_;
  const double* weight_;
};

/// Sums as a float64 tensor: loss, kl, tokens, low-clipped, high-clipped tokens, entropy.
at::Tensor sums_tensor(const kernels::GrpoLossSums& sums, double entropy);

/// The door from log-probabilities [N, T] or [M] -> sums and the gradient, float64 in that shape.
std::tuple<at::Tensor, at::Tensor> grpo_loss(const at::Tensor& logprobs, const GrpoTokens& tokens,
                                             const kernels::GrpoLossOptions& options,
                                             std::int64_t stream);

/// The same of float64 log-probabilities [M] on a GPU, whose entropies [M] float32 it adds up too.
///
/// @return sums, and the gradient [M]
std::tuple<at::Tensor, at::Tensor> grpo_loss_cuda(const at::Tensor& logprobs,
                                                  const GrpoTokens& tokens,
                                                  const kernels::GrpoLossOptions& options,
                                                  const at::Tensor& entropies, std::int64_t stream);
}  // namespace r1

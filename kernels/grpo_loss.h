#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

namespace r1::kernels {

enum class KlEstimator : int { k1 = 1, k2 = 2, k3 = 3 };

/// Settings of equations 1 and 2 that every token shares.
struct GrpoLossOptions {
  double ratio_min;  // 1 - epsilon
  double ratio_max;  // 1 + epsilon_high
  double delta;      // upper bound of the unclipped ratio (two-sided clipping); infinity: none
  double beta;       // KL coefficient; 0: no KL
  KlEstimator kl_estimator;
  bool sequence_ratio;  // one ratio per row: exp of the mean log-ratio of its tokens (GSPO)
};

/// Sums over the masked tokens; the caller divides by `tokens`.
struct GrpoLossSums {
  double loss;          // weighted: already the loss
  double kl;            // estimated KL to the reference, nats
  double tokens;        // masked tokens
  double low_clipped;   // ratio < ratio_min with a negative advantage
  double high_clipped;  // ratio > ratio_max with a positive advantage
};

/// The clipped surrogate minus beta KL (DeepSeek-R1, equations 1 and 2) and its gradient:
///
///     loss = sum_n weight[n] sum_t mask (-min(min(ratio, delta) A, clip(ratio) A) w + beta KL)
///     ratio = exp(logprob - old),  k3 = exp(ref - logprob) - (ref - logprob) - 1
///
/// With `sequence_ratio` every token of a row has the ratio exp(mean_t mask (logprob - old)).
///
/// Numerics: every token in double, summed row by row in order; deterministic. Where the ratio is
/// inside the clip range both branches agree and the gradient is the unclipped one's.
///
/// @param logprobs            [N, T], row-major
/// @param old_logprobs        [N, T], or null: the same as logprobs, ratio exactly 1
/// @param reference_logprobs  [N, T], or null where beta is 0
/// @param importance_weights  [N, T], or null: 1
/// @param advantages          [N, T] where advantages_per_token, otherwise [N]
/// @param mask                [N, T], 1 where the token counts
/// @param row_weights         [N]
/// @param grad_logprobs       [N, T], d loss / d logprobs
R1_PER_ISA(GrpoLossSums grpo_loss_cpu(const double* logprobs, const double* old_logprobs,
                                      const double* reference_logprobs,
                                      const double* importance_weights, const double* advantages,
                                      bool advantages_per_token, const bool* mask,
                                      const double* row_weights, std::int64_t N, std::int64_t T,
                                      const GrpoLossOptions& options,
                                      double* grad_logprobs) noexcept;)
}  // namespace r1::kernels

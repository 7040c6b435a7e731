#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

namespace r1::kernels {

/// What becomes of the ratio in a token's policy term; see grpo_terms.h.
enum class Surrogate : int { clipped = 0, cispo = 1, sapo = 2 };

enum class KlEstimator : int { k1 = 1, k2 = 2, k3 = 3 };

/// Settings of equations 1 and 2 that every token shares.
struct GrpoLossOptions {
  Surrogate surrogate;
  double ratio_min;             // clipped: 1 - epsilon; otherwise -infinity
  double ratio_max;             // clipped: 1 + epsilon_high; cispo: epsilon_high; sapo: infinity
  double delta;                 // clipped: bound of the unclipped ratio (two-sided); infinity: none
  double sapo_temperature_pos;  // where the advantage is > 0
  double sapo_temperature_neg;  // elsewhere
  double beta;                  // KL coefficient; 0: no KL
  KlEstimator kl_estimator;
  bool bias_corrected_kl;  // the KL times the ratio (DeepSeek-V3.2)
  bool sequence_ratio;     // one ratio per sequence: exp of the mean log-ratio of its tokens (GSPO)
};

/// What a token's loss depends on besides its log-probability; each [M].
struct GrpoTokens {
  const double* advantages;
  const double* weights;             // in the loss; 0: the token does not count and is not read
  const double* old_logprobs;        // or null: the same as the log-probabilities, ratio exactly 1
  const double* reference_logprobs;  // or null where beta is 0
  const double* importance_weights;  // of the policy term; or null: 1
};

/// Sums over the counted tokens.
struct GrpoLossSums {
  double loss;          // weighted: already the loss
  double kl;            // estimated KL to the reference, nats
  double tokens;        // counted tokens
  double low_clipped;   // ratio < ratio_min with a negative advantage
  double high_clipped;  // ratio > ratio_max with a positive advantage
};

/// The surrogate minus beta KL (DeepSeek-R1, equations 1 and 2, and the variants of grpo_terms.h)
/// of M packed tokens, and its gradient:
///
///     loss = sum_m weight[m] (importance_weight[m] policy(ratio, A) + beta KL)
///
/// Numerics: every token in double, summed in order; deterministic.
///
/// @param logprobs         [M]
/// @param sequence_starts  [sequences + 1], offsets into M; a sequence may be empty
/// @param grad_logprobs    [M], d loss / d logprobs
R1_PER_ISA(GrpoLossSums grpo_loss_cpu(const double* logprobs, const GrpoTokens& tokens,
                                      const std::int64_t* sequence_starts, std::int64_t sequences,
                                      const GrpoLossOptions& options,
                                      double* grad_logprobs) noexcept;)
}  // namespace r1::kernels

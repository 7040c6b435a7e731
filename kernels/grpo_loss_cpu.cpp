#include "kernels/grpo_loss.h"

#include <math.h>

namespace r1::kernels::R1_ISA {
namespace {

struct Term {
  double value;
  double gradient;  // with respect to the log-probability
};

Term surrogate(double ratio, double advantage, const GrpoLossOptions& options) {
  const double bounded = ratio < options.delta ? ratio : options.delta;
  const double clipped = ratio < options.ratio_min   ? options.ratio_min
                         : ratio > options.ratio_max ? options.ratio_max
                                                     : ratio;
  if (bounded * advantage <= clipped * advantage)
    return {-bounded * advantage, bounded < ratio ? 0 : -ratio * advantage};
  return {-clipped * advantage, 0};
}

Term kl(double logprob, double reference, KlEstimator estimator) {
  const double difference = reference - logprob;
  switch (estimator) {
    case KlEstimator::k1:
      return {-difference, 1};
    case KlEstimator::k2:
      return {0.5 * difference * difference, -difference};
    default:
      return {::expm1(difference) - difference, -::expm1(difference)};
  }
}

/// The mean log-ratio of a row's masked tokens, and how many there are.
struct RowRatio {
  double mean;
  double tokens;
};

RowRatio row_ratio(const double* logprobs, const double* old_logprobs, const bool* mask,
                   std::int64_t T) {
  double sum = 0, tokens = 0;
  for (std::int64_t t = 0; t < T; ++t) {
    if (!mask[t]) continue;
    tokens += 1;
    if (old_logprobs) sum += logprobs[t] - old_logprobs[t];
  }
  return {tokens > 0 ? sum / tokens : 0, tokens};
}

/// Every token's log-probability moves the row's ratio by 1 / tokens.
void spread(double policy_gradient, const RowRatio& row, const bool* mask, std::int64_t T,
            double* grad_logprobs) {
  for (std::int64_t t = 0; t < T; ++t)
    if (mask[t]) grad_logprobs[t] += policy_gradient / row.tokens;
}

}  // namespace

GrpoLossSums grpo_loss_cpu(const double* logprobs, const double* old_logprobs,
                           const double* reference_logprobs, const double* importance_weights,
                           const double* advantages, bool advantages_per_token, const bool* mask,
                           const double* row_weights, std::int64_t N, std::int64_t T,
                           const GrpoLossOptions& options, double* grad_logprobs) noexcept {
  GrpoLossSums sums{};
  for (std::int64_t n = 0; n < N; ++n) {
    const std::int64_t start = n * T;
    RowRatio row{0, 0};
    if (options.sequence_ratio)
      row = row_ratio(logprobs + start, old_logprobs ? old_logprobs + start : nullptr, mask + start,
                      T);
    double row_loss = 0, row_gradient = 0;
    for (std::int64_t i = start; i < start + T; ++i) {
      grad_logprobs[i] = 0;
      if (!mask[i]) continue;
      const double advantage = advantages[advantages_per_token ? i : n];
      double log_ratio = row.mean;
      if (!options.sequence_ratio) log_ratio = old_logprobs ? logprobs[i] - old_logprobs[i] : 0;
      const double ratio = ::exp(log_ratio);
      const double weight = importance_weights ? importance_weights[i] : 1;
      const Term policy = surrogate(ratio, advantage, options);
      Term divergence{0, 0};
      if (reference_logprobs)
        divergence = kl(logprobs[i], reference_logprobs[i], options.kl_estimator);
      row_loss += weight * policy.value + options.beta * divergence.value;
      double gradient = options.beta * divergence.gradient;
      (options.sequence_ratio ? row_gradient : gradient) += weight * policy.gradient;
      grad_logprobs[i] = row_weights[n] * gradient;
      sums.kl += divergence.value;
      sums.tokens += 1;
      sums.low_clipped += ratio < options.ratio_min && advantage < 0;
      sums.high_clipped += ratio > options.ratio_max && advantage > 0;
    }
    if (options.sequence_ratio)
      spread(row_weights[n] * row_gradient, row, mask + start, T, grad_logprobs + start);
    sums.loss += row_weights[n] * row_loss;
  }
  return sums;
}

}  // namespace r1::kernels::R1_ISA

#pragma once
#include <math.h>

#include "kernels/grpo_loss.h"

/// The loss of one token: one function per formula, each with its derivatives; the same on the CPU
/// and on the GPU.
namespace r1::kernels::R1_ISA {

/// A token's log-probability moves its loss directly, and through the (token's or sequence's)
/// ratio.
struct Term {
  double value;
  double by_logprob;    // d value / d logprob, the ratio held
  double by_log_ratio;  // d value / d log ratio
};

/// -min(min(ratio, delta) A, clip(ratio) A): PPO's, with INTELLECT-2's bound. Inside the clip range
/// both branches agree and the gradient is the unclipped one's.
R1_FORMULA Term clipped(double ratio, double advantage, const GrpoLossOptions& options) {
  const double bounded = ratio < options.delta ? ratio : options.delta;
  const double clipped = ratio < options.ratio_min   ? options.ratio_min
                         : ratio > options.ratio_max ? options.ratio_max
                                                     : ratio;
  if (bounded * advantage <= clipped * advantage)
    return {-bounded * advantage, 0, bounded < ratio ? 0 : -ratio * advantage};
  return {-clipped * advantage, 0, 0};
}

/// -min(ratio, ratio_max) A logprob with the ratio held: no token loses its gradient (MiniMax-M1).
R1_FORMULA Term cispo(double ratio, double advantage, double logprob,
                      const GrpoLossOptions& options) {
  const double weight = ratio < options.ratio_max ? ratio : options.ratio_max;
  return {-weight * advantage * logprob, -weight * advantage, 0};
}

/// -(4 / t) sigmoid(t (ratio - 1)) A: a soft gate in place of the clip (SAPO, arXiv 2511.20347).
R1_FORMULA Term sapo(double ratio, double advantage, const GrpoLossOptions& options) {
  const double t = advantage > 0 ? options.sapo_temperature_pos : options.sapo_temperature_neg;
  const double gate = 1 / (1 + ::exp(-t * (ratio - 1)));
  return {-4 / t * gate * advantage, 0, -4 * gate * (1 - gate) * ratio * advantage};
}

R1_FORMULA Term surrogate(double ratio, double advantage, double logprob,
                          const GrpoLossOptions& options) {
  if (ratio != ratio) return {ratio, ratio, ratio};  // which the bounds would hide
  switch (options.surrogate) {
    case Surrogate::cispo:
      return cispo(ratio, advantage, logprob, options);
    case Surrogate::sapo:
      return sapo(ratio, advantage, options);
    default:
      return clipped(ratio, advantage, options);
  }
}

/// Schulman's estimators of KL(policy || reference) at a token that the policy drew.
R1_FORMULA Term kl(double logprob, double reference, KlEstimator estimator) {
  const double difference = reference - logprob;
  switch (estimator) {
    case KlEstimator::k1:
      return {-difference, 1, 0};
    case KlEstimator::k2:
      return {0.5 * difference * difference, -difference, 0};
    default:
      return {::expm1(difference) - difference, -::expm1(difference), 0};
  }
}

/// ratio KL: its gradient is that of the KL itself where old tokens are reused (DeepSeek-V3.2).
R1_FORMULA Term times_ratio(const Term& kl, double ratio) {
  return {ratio * kl.value, ratio * kl.by_logprob, ratio * kl.value};
}

/// What one token's loss depends on, as values.
struct TokenInputs {
  double advantage, weight, importance;
  double old_logprob, reference_logprob;
  bool has_old, has_reference;
};

R1_FORMULA TokenInputs token_inputs(const GrpoTokens& tokens, std::int64_t m) {
  return {tokens.advantages[m],
          tokens.weights[m],
          tokens.importance_weights ? tokens.importance_weights[m] : 1,
          tokens.old_logprobs ? tokens.old_logprobs[m] : 0,
          tokens.reference_logprobs ? tokens.reference_logprobs[m] : 0,
          tokens.old_logprobs != nullptr,
          tokens.reference_logprobs != nullptr};
}

/// Without old log-probabilities 0, but NaN of one that is not finite: a token that the policy
/// never draws has no ratio.
R1_FORMULA double log_ratio_of(double logprob, const TokenInputs& token) {
  return logprob - (token.has_old ? token.old_logprob : logprob);
}

/// Adds a token to the sums; returns the derivatives of its weighted loss.
R1_FORMULA Term add_token(double logprob, double log_ratio, const TokenInputs& token,
                          const GrpoLossOptions& options, GrpoLossSums& sums) {
  const double ratio = ::exp(log_ratio), advantage = token.advantage;
  const Term policy = surrogate(ratio, advantage, logprob, options);
  Term divergence{};
  if (token.has_reference) divergence = kl(logprob, token.reference_logprob, options.kl_estimator);
  if (options.bias_corrected_kl) divergence = times_ratio(divergence, ratio);
  const double weight = token.weight, importance = token.importance;
  const double value = weight * (importance * policy.value + options.beta * divergence.value);
  sums.loss += value;
  sums.kl += divergence.value;
  sums.tokens += 1;
  sums.low_clipped += ratio < options.ratio_min && advantage < 0;
  sums.high_clipped += ratio > options.ratio_max && advantage > 0;
  return {value, weight * (importance * policy.by_logprob + options.beta * divergence.by_logprob),
          weight * (importance * policy.by_log_ratio + options.beta * divergence.by_log_ratio)};
}

}  // namespace r1::kernels::R1_ISA

#include "kernels/grpo_loss.h"

#include <gtest/gtest.h>

#include <cmath>

namespace r1::kernels {
namespace {

constexpr GrpoLossOptions kPlain{.surrogate = Surrogate::clipped,
                                 .ratio_min = 0.8,
                                 .ratio_max = 1.2,
                                 .delta = INFINITY,
                                 .sapo_temperature_pos = 1,
                                 .sapo_temperature_neg = 1.05,
                                 .beta = 0,
                                 .kl_estimator = KlEstimator::k3,
                                 .bias_corrected_kl = false,
                                 .sequence_ratio = false};
const double kWeights[] = {1, 1};

struct Result {
  GrpoLossSums sums;
  double gradient[2];
};

/// One sequence of two tokens with the given log-ratios.
Result row(double first, double second, double advantage, const GrpoLossOptions& options,
           const double* weights = kWeights) {
  const double logprobs[] = {first, second}, old_logprobs[] = {0, 0};
  const double advantages[] = {advantage, advantage};
  const std::int64_t starts[] = {0, 0, 2, 2};  // between two empty sequences
  const GrpoTokens tokens{advantages, weights, old_logprobs, nullptr, nullptr};
  Result result;
  result.sums = R1_CPU(grpo_loss_cpu)(logprobs, tokens, starts, 3, options, result.gradient);
  return result;
}

TEST(GrpoLoss, CutsTheGradientOnlyWhereClippingLowersTheObjective) {
  const double above = std::log(1.5), below = std::log(0.5);
  const Result good = row(above, below, 1, kPlain), bad = row(above, below, -1, kPlain);
  EXPECT_EQ(good.gradient[0], 0);
  EXPECT_DOUBLE_EQ(good.gradient[1], -0.5);
  EXPECT_DOUBLE_EQ(bad.gradient[0], 1.5);
  EXPECT_EQ(bad.gradient[1], 0);
  EXPECT_DOUBLE_EQ(good.sums.loss, -1.2 - 0.5);
  EXPECT_EQ(good.sums.high_clipped, 1);
  EXPECT_EQ(bad.sums.low_clipped, 1);
}

TEST(GrpoLoss, DeltaBoundsTheRatioOfBadAnswers) {
  GrpoLossOptions options = kPlain;
  options.delta = 2;
  const Result result = row(std::log(3.), 0, -1, options);
  EXPECT_DOUBLE_EQ(result.sums.loss, 2 + 1);
  EXPECT_EQ(result.gradient[0], 0);
}

TEST(GrpoLoss, SequenceRatioIsTheGeometricMeanOfTheMaskedTokens) {
  GrpoLossOptions options = kPlain;
  options.sequence_ratio = true;
  const Result both = row(std::log(1.21), 0, 1, options);  // geometric mean 1.1: not clipped
  EXPECT_NEAR(both.sums.loss, -2 * 1.1, 1e-12);
  EXPECT_NEAR(both.gradient[0], -1.1, 1e-12);
  EXPECT_NEAR(both.gradient[1], -1.1, 1e-12);
  const double first_only[] = {1, 0};
  const Result first = row(std::log(1.1), NAN, 1, options, first_only);
  EXPECT_NEAR(first.sums.loss, -1.1, 1e-12);
  EXPECT_EQ(first.gradient[1], 0);
}

TEST(GrpoLoss, CispoHoldsTheCappedRatioAndCutsNoToken) {
  GrpoLossOptions options = kPlain;
  options.surrogate = Surrogate::cispo;
  options.ratio_min = -INFINITY;
  options.ratio_max = 1.4;
  const Result result = row(std::log(3.), std::log(0.5), 2, options);
  EXPECT_DOUBLE_EQ(result.sums.loss, -1.4 * 2 * std::log(3.) - 0.5 * 2 * std::log(0.5));
  EXPECT_DOUBLE_EQ(result.gradient[0], -1.4 * 2);
  EXPECT_DOUBLE_EQ(result.gradient[1], -0.5 * 2);
  EXPECT_EQ(result.sums.high_clipped, 1);
  EXPECT_EQ(result.sums.low_clipped, 0);
}

TEST(GrpoLoss, SapoGatesByTheSignOfTheAdvantage) {
  GrpoLossOptions options = kPlain;
  options.surrogate = Surrogate::sapo;
  options.sapo_temperature_neg = 2;
  for (const double advantage : {1., -1.}) {
    const Result result = row(0, 0, advantage, options);  // at ratio 1 the gate is half open
    EXPECT_DOUBLE_EQ(result.sums.loss, -2 * 2 / (advantage > 0 ? 1. : 2.) * advantage);
    EXPECT_DOUBLE_EQ(result.gradient[0], -advantage);
  }
}

}  // namespace
}  // namespace r1::kernels

#include "kernels/grpo_loss.h"

#include <gtest/gtest.h>

#include <cmath>

namespace r1::kernels {
namespace {

constexpr GrpoLossOptions kPlain{0.8, 1.2, INFINITY, 0, KlEstimator::k3, false};
const double kWeight = 1;
const bool kMask[] = {true, true};

struct Result {
  GrpoLossSums sums;
  double gradient[2];
};

/// One row of two tokens with the given log-ratios.
Result row(double first, double second, double advantage, const GrpoLossOptions& options,
           const bool* mask = kMask) {
  const double logprobs[] = {first, second}, old_logprobs[] = {0, 0};
  Result result;
  result.sums = R1_CPU(grpo_loss_cpu)(logprobs, old_logprobs, nullptr, nullptr, &advantage, false,
                                      mask, &kWeight, 1, 2, options, result.gradient);
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
  const bool first_only[] = {true, false};
  const Result first = row(std::log(1.1), NAN, 1, options, first_only);
  EXPECT_NEAR(first.sums.loss, -1.1, 1e-12);
  EXPECT_EQ(first.gradient[1], 0);
}

}  // namespace
}  // namespace r1::kernels

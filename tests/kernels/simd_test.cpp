#include "kernels/common/simd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

namespace r1::kernels {
namespace {

// Distance in units of the last place of the correctly rounded value.
double ulps(float actual, double expected) {
  const float rounded = static_cast<float>(expected);
  const double unit = std::nextafter(rounded, INFINITY) - rounded;
  return std::abs(actual - expected) / unit;
}

float exp_of(float x) {
  float lanes[R1_ISA::kLanes];
  R1_ISA::store(lanes, R1_ISA::exp(R1_ISA::splat(x)));
  return lanes[R1_ISA::kLanes - 1];
}

TEST(Exp, IsWithinOneAndAHalfUlpOverItsRange) {
  double worst = 0;
  for (float x = -87.2f; x < 88.f; x += 1.7e-3f)
    worst = std::max(worst, ulps(exp_of(x), std::exp(static_cast<double>(x))));
  EXPECT_LT(worst, 1.5);
}

TEST(Exp, HandlesTheEdges) {
  EXPECT_EQ(exp_of(0.f), 1.f);
  EXPECT_EQ(exp_of(-INFINITY), 0.f);
  EXPECT_EQ(exp_of(-100.f), 0.f);
  EXPECT_TRUE(std::isnan(exp_of(NAN)));
}

}  // namespace
}  // namespace r1::kernels

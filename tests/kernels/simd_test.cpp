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

TEST(Exp, IsWithinTwoUlpOverItsRange) {
  double worst = 0;
  for (float x = -87.2f; x < 88.f; x += 1.7e-3f)
    worst = std::max(worst, ulps(R1_ISA::exp(x), std::exp(static_cast<double>(x))));
  EXPECT_LT(worst, 2);
}

TEST(Exp, HandlesTheEdges) {
  EXPECT_EQ(R1_ISA::exp(0.f), 1.f);
  EXPECT_EQ(R1_ISA::exp(-INFINITY), 0.f);
  EXPECT_EQ(R1_ISA::exp(-100.f), 0.f);
  EXPECT_TRUE(std::isnan(R1_ISA::exp(NAN)));
}

}  // namespace
}  // namespace r1::kernels

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

/// As torch rounds: to nearest, ties to even.
std::uint16_t rounded(float value) {
  bf16 lanes[R1_ISA::kLanes];
  R1_ISA::store(lanes, R1_ISA::splat(value));
  return lanes[R1_ISA::kLanes - 1].bits;
}

float from_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

TEST(Bf16, EveryValueSurvivesARoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const bf16 value{static_cast<std::uint16_t>(bits)};
    if (std::isnan(widen(value))) {
      EXPECT_TRUE(std::isnan(widen(bf16{rounded(widen(value))})));
      continue;
    }
    ASSERT_EQ(rounded(widen(value)), bits);
  }
}

TEST(Bf16, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(rounded(from_bits(0x3F807FFF)), 0x3F80);
  EXPECT_EQ(rounded(from_bits(0x3F808000)), 0x3F80);  // a tie, even below
  EXPECT_EQ(rounded(from_bits(0x3F818000)), 0x3F82);  // a tie, even above
  EXPECT_EQ(rounded(from_bits(0x3F808001)), 0x3F81);
  EXPECT_EQ(rounded(from_bits(0x7F7FFFFF)), 0x7F80);  // past the largest: infinity
  EXPECT_TRUE(std::isnan(widen(bf16{rounded(from_bits(0x7FFFFFFF))})));
}

TEST(Bf16, PartialLoadsAndStoresTouchOnlyTheirLanes) {
  bf16 lanes[R1_ISA::kLanes];
  for (int i = 0; i < R1_ISA::kLanes; ++i) lanes[i].bits = 0x3F80;  // 1
  R1_ISA::store_partial(lanes, R1_ISA::splat(2.f), 5);
  const R1_ISA::f32x16 first = R1_ISA::load_partial(lanes, 7, 0.f);
  EXPECT_EQ(R1_ISA::horizontal_sum(first), 5 * 2 + 2);
  EXPECT_EQ(R1_ISA::horizontal_sum(R1_ISA::load(lanes)), 5 * 2 + 11);
}

}  // namespace
}  // namespace r1::kernels

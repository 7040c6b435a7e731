#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/common/bf16.h"
#include "kernels/common/isa.h"
#include "tests/emulation/fibers.h"

/// What the tests of the GPU's kernels share: random data, and both orders of a block's threads.
namespace r1::kernels {

inline std::vector<float> random_floats(std::int64_t count, unsigned seed, float spread = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

/// Truncated: what a test compares is then the same on both sides.
inline std::vector<bf16> to_bf16(const std::vector<float>& values) {
  std::vector<bf16> narrow;
  for (const float value : values) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    narrow.push_back({static_cast<std::uint16_t>(bits >> 16)});
  }
  return narrow;
}

inline std::vector<float> to_floats(const std::vector<bf16>& values) {
  std::vector<float> wide;
  for (const bf16 value : values) wide.push_back(widen(value));
  return wide;
}

inline std::vector<float> to_floats(const std::vector<float>& values) { return values; }

/// Runs `kernel()` -> a vector with the threads of a block in either order, whose results must be
/// equal bit for bit: where they are not, a barrier is missing.
template <class Kernel>
auto in_both_orders(Kernel kernel) {
  emulation::reverse = true;
  const auto backwards = kernel();
  emulation::reverse = false;
  const auto forwards = kernel();
  EXPECT_EQ(forwards.size(), backwards.size());
  EXPECT_EQ(
      std::memcmp(forwards.data(), backwards.data(), forwards.size() * sizeof(*forwards.data())),
      0);
  return forwards;
}

template <class Actual, class Expected>
void expect_near(const std::vector<Actual>& actual, const std::vector<Expected>& expected,
                 double absolute, double relative = 0) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const auto a = static_cast<double>(actual[i]), b = static_cast<double>(expected[i]);
    if (std::isnan(a) && std::isnan(b)) continue;
    ASSERT_NEAR(a, b, absolute + relative * std::abs(b)) << "at " << i;
  }
}

}  // namespace r1::kernels

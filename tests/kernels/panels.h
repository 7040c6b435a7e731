#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/common/isa.h"

/// What the tests of the panel kernels share: random data, and a run at every level of this CPU.
namespace r1::kernels {

inline std::vector<float> random_floats(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

inline std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }

/// Runs `kernel()` -> vector<float> at each level; AVX2 and AVX-512 must give the same bits.
/// Returns the result of the best level, with that level in force again.
template <class Kernel>
std::vector<float> at_every_level(Kernel kernel) {
  std::vector<float> avx2;
  if (force_isa(Isa::avx2)) avx2 = kernel();
  force_isa(best_isa());
  const std::vector<float> best = kernel();
  if (best_isa() == Isa::avx512) {
    EXPECT_EQ(avx2, best);
  }
  return best;
}

/// The portable level, which need not fuse multiply-adds, against a reference.
template <class Kernel>
std::vector<float> at_portable_level(Kernel kernel) {
  force_isa(Isa::portable);
  const std::vector<float> result = kernel();
  force_isa(best_isa());
  return result;
}

inline void expect_near(const std::vector<float>& actual, const std::vector<double>& expected,
                        double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i)
    ASSERT_NEAR(static_cast<double>(actual[i]), expected[i], tolerance) << "at " << i;
}

/// The gradient of `loss(x)`, computed in double, by central differences: right to about 1e-8.
template <class Loss>
std::vector<double> numeric_gradient(const std::vector<float>& x, Loss loss) {
  constexpr double kStep = 1e-5;
  std::vector<double> values(x.begin(), x.end()), gradient(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double held = values[i];
    values[i] = held + kStep;
    const double above = loss(values);
    values[i] = held - kStep;
    gradient[i] = (above - loss(values)) / (2 * kStep);
    values[i] = held;
  }
  return gradient;
}

}  // namespace r1::kernels

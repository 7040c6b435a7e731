#include "kernels/norm.h"

#include <cmath>

#include "tests/kernels/panels.h"

namespace r1::kernels {
namespace {

constexpr std::int64_t kPanels = 2, kGroups = 3, kWidth = 13;

TEST(RmsNormKernel, MatchesDoubleInPlaceAtEveryLevel) {
  const std::vector<float> x = random_floats(kPanels * kGroups * kWidth * 16, 1);
  const std::vector<float> weight = random_floats(kWidth, 2);
  std::vector<double> expected(x.size());
  for (std::int64_t group = 0; group < kPanels * kGroups; ++group)
    for (std::int64_t lane = 0; lane < 16; ++lane) {
      const auto index = [&](std::int64_t k) { return at((group * kWidth + k) * 16 + lane); };
      double squares = 0;
      for (std::int64_t k = 0; k < kWidth; ++k) squares += std::pow(double{x[index(k)]}, 2);
      for (std::int64_t k = 0; k < kWidth; ++k)
        expected[index(k)] =
            double{weight[at(k)]} * double{x[index(k)]} / std::sqrt(squares / kWidth + 1e-6);
    }
  const auto run = [&] {
    std::vector<float> y = x;
    R1_CPU(rms_norm_cpu)(y.data(), kPanels, kGroups, kWidth, weight.data(), 1e-6f, y.data());
    return y;
  };
  expect_near(at_every_level(run), expected, 5e-6);
  expect_near(at_portable_level(run), expected, 5e-6);
}

TEST(RmsNormKernel, KeepsZerosZero) {
  std::vector<float> x(16 * 4, 0.f);
  const std::vector<float> weight(4, 1.f);
  R1_CPU(rms_norm_cpu)(x.data(), 1, 1, 4, weight.data(), 1e-6f, x.data());
  EXPECT_EQ(x, std::vector<float>(16 * 4, 0.f));
}

}  // namespace
}  // namespace r1::kernels

#include "kernels/geglu.h"

#include <cmath>

#include "tests/kernels/panels.h"

namespace r1::kernels {
namespace {

TEST(GegluKernel, MatchesDoubleAtEveryLevel) {
  std::vector<float> gate = random_floats(160, 1);
  const std::vector<float> up = random_floats(160, 2);
  for (std::size_t i = 0; i < 20; ++i) gate[i] = 20.f * (static_cast<float>(i) - 10.f);  // tails
  std::vector<double> expected;
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double x = double{gate[i]}, u = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
    expected.push_back(x / 2 * (1 + std::tanh(u)) * double{up[i]});
  }
  const auto run = [&] {
    std::vector<float> y = gate;
    R1_CPU(geglu_cpu)(y.data(), up.data(), 160, y.data());
    return y;
  };
  expect_near(at_every_level(run), expected, 1e-4);  // values up to 400: 4 ulp
  expect_near(at_portable_level(run), expected, 1e-4);
}

}  // namespace
}  // namespace r1::kernels

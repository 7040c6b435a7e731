#include "kernels/rope.h"

#include <cmath>

#include "tests/kernels/panels.h"

namespace r1::kernels {
namespace {

constexpr std::int64_t kPanels = 2, kHeads = 3, kHeadDim = 10, kHalf = kHeadDim / 2;

TEST(RopeKernel, RotatesEachPairByItsAngle) {
  const std::vector<float> x = random_floats(kPanels * kHeads * kHeadDim * 16, 1);
  const std::vector<float> angles = random_floats(kPanels * kHalf * 16, 2);
  std::vector<float> cos, sin;
  for (const float angle : angles) {
    cos.push_back(std::cos(angle));
    sin.push_back(std::sin(angle));
  }
  std::vector<double> expected(x.size());
  for (std::int64_t p = 0; p < kPanels; ++p)
    for (std::int64_t h = 0; h < kHeads; ++h)
      for (std::int64_t k = 0; k < kHalf; ++k)
        for (std::int64_t lane = 0; lane < 16; ++lane) {
          const std::size_t low = at(((p * kHeads + h) * kHeadDim + k) * 16 + lane);
          const std::size_t high = low + at(kHalf * 16), i = at((p * kHalf + k) * 16 + lane);
          expected[low] = double{x[low]} * double{cos[i]} - double{x[high]} * double{sin[i]};
          expected[high] = double{x[high]} * double{cos[i]} + double{x[low]} * double{sin[i]};
        }
  const auto run = [&] {
    std::vector<float> y = x;
    R1_CPU(rope_cpu)(y.data(), kPanels, kHeads, kHeadDim, cos.data(), sin.data());
    return y;
  };
  expect_near(at_every_level(run), expected, 1e-6);
  expect_near(at_portable_level(run), expected, 1e-6);
}

}  // namespace
}  // namespace r1::kernels

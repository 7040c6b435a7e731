#include "kernels/linear.h"

#include <algorithm>
#include <bit>

#include "tests/kernels/panels.h"

namespace r1::kernels {
namespace {

struct Shape {
  std::int64_t panels, in, out;
  bool bias, add;
};

class LinearKernel : public testing::TestWithParam<Shape> {
 protected:
  const Shape shape_ = GetParam();
  const std::vector<float> x_ = random_floats(shape_.panels * shape_.in * 16, 1);
  const std::vector<float> weight_ = random_floats(shape_.out * shape_.in, 2);
  const std::vector<float> bias_ = random_floats(shape_.out, 3);
  const std::vector<float> start_ = random_floats(shape_.panels * shape_.out * 16, 4);

  std::vector<float> run() const {
    std::vector<float> y = start_;
    R1_CPU(linear_cpu)
    (x_.data(), shape_.panels, shape_.in, weight_.data(), shape_.bias ? bias_.data() : nullptr,
     shape_.out, 0, shape_.out, shape_.add ? start_.data() : nullptr, y.data());
    return y;
  }
  std::vector<double> reference() const {
    std::vector<double> y(start_.size());
    for (std::int64_t p = 0; p < shape_.panels; ++p)
      for (std::int64_t n = 0; n < shape_.out; ++n)
        for (std::int64_t lane = 0; lane < 16; ++lane) {
          const std::size_t i = at((p * shape_.out + n) * 16 + lane);
          double sum = shape_.add ? start_[i] : 0.;
          if (shape_.bias) sum += bias_[at(n)];
          for (std::int64_t k = 0; k < shape_.in; ++k)
            sum += static_cast<double>(weight_[at(n * shape_.in + k)]) *
                   x_[at((p * shape_.in + k) * 16 + lane)];
          y[i] = sum;
        }
    return y;
  }
};

TEST_P(LinearKernel, MatchesDoubleAtEveryLevel) {
  expect_near(at_every_level([&] { return run(); }), reference(), 2e-4);
  expect_near(at_portable_level([&] { return run(); }), reference(), 2e-4);
}

TEST_P(LinearKernel, GivesAPanelTheSameBitsAlone) {
  const std::vector<float> together = run();
  for (std::int64_t p = 0; p < shape_.panels; ++p) {
    const std::int64_t size = shape_.out * 16;
    std::vector<float> alone(start_.begin() + p * size, start_.begin() + (p + 1) * size);
    const std::vector<float> expected(together.begin() + p * size,
                                      together.begin() + (p + 1) * size);
    R1_CPU(linear_cpu)
    (x_.data() + p * shape_.in * 16, 1, shape_.in, weight_.data(),
     shape_.bias ? bias_.data() : nullptr, shape_.out, 0, shape_.out,
     shape_.add ? alone.data() : nullptr, alone.data());
    EXPECT_EQ(alone, expected);
  }
}

TEST_P(LinearKernel, GivesTheSameBitsInParts) {
  std::vector<float> y = start_;
  for (std::int64_t begin = 0, count = 1; begin < shape_.out; begin += count++) R1_CPU(linear_cpu)
  (x_.data(), shape_.panels, shape_.in, weight_.data(), shape_.bias ? bias_.data() : nullptr,
   shape_.out, begin, std::min(begin + count, shape_.out), shape_.add ? y.data() : nullptr,
   y.data());
  EXPECT_EQ(y, run());
}

TEST_P(LinearKernel, CountsABfloat16WeightAsItsFloat) {
  std::vector<bf16> narrow;
  std::vector<float> wide;
  for (const float weight : weight_) {
    narrow.push_back({static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(weight) >> 16)});
    wide.push_back(widen(narrow.back()));
  }
  const auto run_with = [&](auto& kernel, const auto& weight) {
    std::vector<float> y = start_;
    kernel(x_.data(), shape_.panels, shape_.in, weight.data(), shape_.bias ? bias_.data() : nullptr,
           shape_.out, 0, shape_.out, shape_.add ? start_.data() : nullptr, y.data());
    return y;
  };
  const auto bf16_run = [&] { return run_with(R1_CPU(linear_bf16_cpu), narrow); };
  EXPECT_EQ(at_every_level(bf16_run), run_with(R1_CPU(linear_cpu), wide));
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearKernel,
                         testing::Values(Shape{1, 1, 1, false, false}, Shape{1, 7, 13, true, false},
                                         Shape{2, 64, 6, false, true}, Shape{3, 33, 31, true, true},
                                         Shape{4, 128, 40, false, false},
                                         Shape{3, 700, 22, true, false},
                                         Shape{0, 8, 8, false, false}));

}  // namespace
}  // namespace r1::kernels

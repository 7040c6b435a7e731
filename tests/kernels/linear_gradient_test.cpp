#include <bit>

#include "kernels/linear.h"
#include "tests/kernels/panels.h"

namespace r1::kernels {
namespace {

struct Shape {
  std::int64_t panels, in, out;
  bool add;
};

class LinearGradient : public testing::TestWithParam<Shape> {
 protected:
  const Shape shape_ = GetParam();
  const std::int64_t panels_ = shape_.panels, in_ = shape_.in, out_ = shape_.out;
  const std::vector<float> x_ = random_floats(panels_ * in_ * 16, 1);
  const std::vector<float> dy_ = random_floats(panels_ * out_ * 16, 2);
  const std::vector<float> weight_ = random_floats(out_ * in_, 3);
  const std::vector<float> start_ = random_floats(panels_ * in_ * 16 + out_ * in_, 4);

  std::vector<float> input_gradient(std::int64_t begin, std::int64_t end) const {
    std::vector<float> workspace(at(input_gradient_workspace(in_)));
    std::vector<float> dx(start_.begin() + begin * in_ * 16, start_.begin() + end * in_ * 16);
    R1_CPU(linear_input_gradient_cpu)
    (dy_.data() + begin * out_ * 16, end - begin, out_, weight_.data(), in_, workspace.data(),
     dx.data(), shape_.add);
    return dx;
  }
  std::vector<float> rows() const {
    std::vector<float> rows(at(rows_size(panels_, in_)));
    for (std::int64_t p = 0; p < panels_; ++p)
      R1_CPU(linear_rows_cpu)(x_.data(), p, p + 1, panels_, in_, rows.data());
    return rows;
  }
  std::vector<float> weight_gradient(std::int64_t split) const {
    std::vector<float> dw(start_.begin(), start_.begin() + out_ * in_);
    const std::vector<float> by_rows = rows();
    for (const auto& [begin, end] : {std::pair{split, out_}, std::pair{std::int64_t{0}, split}})
      R1_CPU(linear_weight_gradient_cpu)
    (dy_.data(), by_rows.data(), panels_, out_, in_, begin, end, dw.data(), shape_.add);
    return dw;
  }
};

TEST_P(LinearGradient, OfTheInputMatchesDoubleAtEveryLevel) {
  std::vector<double> expected(x_.size());
  for (std::int64_t p = 0; p < panels_; ++p)
    for (std::int64_t k = 0; k < in_; ++k)
      for (std::int64_t lane = 0; lane < 16; ++lane) {
        const std::size_t i = at((p * in_ + k) * 16 + lane);
        expected[i] = shape_.add ? start_[i] : 0.;
        for (std::int64_t n = 0; n < out_; ++n)
          expected[i] += double{weight_[at(n * in_ + k)]} * dy_[at((p * out_ + n) * 16 + lane)];
      }
  const auto run = [&] { return input_gradient(0, panels_); };
  expect_near(at_every_level(run), expected, 2e-4);
  expect_near(at_portable_level(run), expected, 2e-4);
}

TEST_P(LinearGradient, OfAPanelsInputHasTheSameBitsAlone) {
  const std::vector<float> together = input_gradient(0, panels_);
  for (std::int64_t p = 0; p < panels_; ++p)
    EXPECT_EQ(input_gradient(p, p + 1), std::vector<float>(together.begin() + p * in_ * 16,
                                                           together.begin() + (p + 1) * in_ * 16));
}

TEST_P(LinearGradient, OfTheInputReadsBf16AsTheFloatsThatTheyAre) {
  std::vector<bf16> halves;
  std::vector<float> floats;
  for (const float w : weight_) {
    halves.push_back(bf16{static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(w) >> 16)});
    floats.push_back(widen(halves.back()));
  }
  std::vector<float> workspace(at(input_gradient_workspace(in_)));
  std::vector<float> left(x_.size()), right(x_.size());
  R1_CPU(linear_input_gradient_bf16_cpu)
  (dy_.data(), panels_, out_, halves.data(), in_, workspace.data(), left.data(), false);
  R1_CPU(linear_input_gradient_cpu)
  (dy_.data(), panels_, out_, floats.data(), in_, workspace.data(), right.data(), false);
  EXPECT_EQ(left, right);
}

TEST_P(LinearGradient, OfTheWeightsMatchesDoubleAtEveryLevel) {
  std::vector<double> expected(weight_.size());
  for (std::int64_t n = 0; n < out_; ++n)
    for (std::int64_t k = 0; k < in_; ++k) {
      double& sum = expected[at(n * in_ + k)];
      sum = shape_.add ? start_[at(n * in_ + k)] : 0.;
      for (std::int64_t p = 0; p < panels_; ++p)
        for (std::int64_t lane = 0; lane < 16; ++lane)
          sum += double{dy_[at((p * out_ + n) * 16 + lane)]} * x_[at((p * in_ + k) * 16 + lane)];
    }
  const auto run = [&] { return weight_gradient(0); };
  expect_near(at_every_level(run), expected, 3e-4);
  expect_near(at_portable_level(run), expected, 3e-4);
}

TEST_P(LinearGradient, OfTheWeightsHasTheSameBitsWhoeverComputesARow) {
  const std::vector<float> whole = weight_gradient(0);
  for (std::int64_t split = 1; split < out_; split += 3) EXPECT_EQ(weight_gradient(split), whole);
}

TEST_P(LinearGradient, OfTheBiasIsTheSumOverTheRows) {
  std::vector<double> expected(at(out_));
  for (std::int64_t p = 0; p < panels_; ++p)
    for (std::int64_t n = 0; n < out_; ++n)
      for (std::int64_t lane = 0; lane < 16; ++lane)
        expected[at(n)] += dy_[at((p * out_ + n) * 16 + lane)];
  const auto run = [&] {
    std::vector<float> db(at(out_));
    R1_CPU(linear_bias_gradient_cpu)(dy_.data(), panels_, out_, 0, out_, db.data(), false);
    return db;
  };
  expect_near(at_every_level(run), expected, 1e-4);
  expect_near(at_portable_level(run), expected, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearGradient,
                         testing::Values(Shape{1, 1, 1, false}, Shape{2, 32, 8, true},
                                         Shape{3, 7, 5, false}, Shape{5, 45, 131, true},
                                         Shape{9, 70, 260, false}, Shape{17, 33, 12, true},
                                         Shape{4, 128, 384, false}));

}  // namespace
}  // namespace r1::kernels

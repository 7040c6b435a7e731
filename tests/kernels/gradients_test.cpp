#include <cmath>

#include "kernels/geglu.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "tests/kernels/panels.h"

namespace r1::kernels {
namespace {

using Doubles = std::vector<double>;

// RMSNorm
// ------------------------------------------------------------------------------------------

constexpr std::int64_t kPanels = 2, kGroups = 3, kWidth = 13;
constexpr std::int64_t kSize = kPanels * kGroups * kWidth * 16;
constexpr double kEps = 1e-3;

double norm_loss(const Doubles& x, const Doubles& weight, const std::vector<float>& dy) {
  double loss = 0;
  for (std::int64_t group = 0; group < kPanels * kGroups; ++group)
    for (std::int64_t lane = 0; lane < 16; ++lane) {
      const auto index = [&](std::int64_t k) { return at((group * kWidth + k) * 16 + lane); };
      double squares = 0;
      for (std::int64_t k = 0; k < kWidth; ++k) squares += x[index(k)] * x[index(k)];
      for (std::int64_t k = 0; k < kWidth; ++k)
        loss +=
            double{dy[index(k)]} * weight[at(k)] * x[index(k)] / std::sqrt(squares / kWidth + kEps);
    }
  return loss;
}

class RmsNormGradient : public testing::Test {
 protected:
  const std::vector<float> x_ = random_floats(kSize, 1), dy_ = random_floats(kSize, 2);
  const std::vector<float> weight_ = random_floats(kWidth, 3), start_ = random_floats(kSize, 4);

  /// @param sums  of each panel, for the weight's gradient; or null
  std::vector<float> input(bool add, std::vector<float>* sums = nullptr) const {
    std::vector<float> dx = add ? start_ : dy_;
    if (sums) sums->assign(at(kPanels * kWidth), 0.f);
    R1_CPU(rms_norm_backward_cpu)
    (x_.data(), add ? dy_.data() : dx.data(), kPanels, kGroups, kWidth, weight_.data(),
     static_cast<float>(kEps), add ? dx.data() : nullptr, dx.data(), sums ? sums->data() : nullptr);
    return dx;
  }
};

TEST_F(RmsNormGradient, OfTheInputMatchesDifferencesAlsoInPlace) {
  Doubles expected = numeric_gradient(x_, [&](const Doubles& x) {
    return norm_loss(x, Doubles(weight_.begin(), weight_.end()), dy_);
  });
  expect_near(at_every_level([&] { return input(false); }), expected, 5e-6);
  expect_near(at_portable_level([&] { return input(false); }), expected, 5e-6);
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += start_[i];
  expect_near(at_every_level([&] { return input(true); }), expected, 5e-6);
}

TEST_F(RmsNormGradient, OfTheWeightMatchesDifferencesWhoeverComputesAChannel) {
  const Doubles expected = numeric_gradient(weight_, [&](const Doubles& weight) {
    return norm_loss(Doubles(x_.begin(), x_.end()), weight, dy_);
  });
  const auto run = [&](std::int64_t split) {
    std::vector<float> sums, dweight(at(kWidth));
    EXPECT_EQ(input(false, &sums), input(false));
    for (const auto& [begin, end] : {std::pair{std::int64_t{0}, split}, std::pair{split, kWidth}})
      R1_CPU(rms_norm_weight_gradient_cpu)
    (sums.data(), kPanels, kWidth, begin, end, dweight.data());
    return dweight;
  };
  expect_near(at_every_level([&] { return run(0); }), expected, 3e-5);
  expect_near(at_portable_level([&] { return run(0); }), expected, 3e-5);
  EXPECT_EQ(run(5), run(0));
}

// RoPE
// ---------------------------------------------------------------------------------------------

TEST(RopeGradient, RotatesBack) {
  const std::int64_t head_dim = 10, half = head_dim / 2, size = kPanels * kGroups * head_dim * 16;
  const std::vector<float> x = random_floats(size, 1);
  const std::vector<float> angles = random_floats(kPanels * half * 16, 2);
  std::vector<float> cos, sin;
  for (const float angle : angles) {
    cos.push_back(std::cos(angle));
    sin.push_back(std::sin(angle));
  }
  const auto run = [&] {
    std::vector<float> y = x;
    R1_CPU(rope_cpu)(y.data(), kPanels, kGroups, head_dim, cos.data(), sin.data());
    EXPECT_NE(y, x);
    R1_CPU(rope_backward_cpu)(y.data(), kPanels, kGroups, head_dim, cos.data(), sin.data());
    return y;
  };
  // A rotation's transpose is its inverse.
  expect_near(at_every_level(run), Doubles(x.begin(), x.end()), 2e-6);
  expect_near(at_portable_level(run), Doubles(x.begin(), x.end()), 2e-6);
}

// Gated activations
// --------------------------------------------------------------------------------

double silu(double x) { return x / (1 + std::exp(-x)); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

template <class Activation, class Kernel>
void expect_gated_gradients(Activation activation, Kernel kernel) {
  constexpr std::int64_t kCount = 160;
  std::vector<float> gate = random_floats(kCount, 1);
  const std::vector<float> up = random_floats(kCount, 2), dy = random_floats(kCount, 3);
  for (std::size_t i = 0; i < 20; ++i) gate[i] = 4.f * (static_cast<float>(i) - 10.f);  // tails
  const auto loss = [&](const Doubles& g, const Doubles& u) {
    double sum = 0;
    for (std::size_t i = 0; i < g.size(); ++i) sum += double{dy[i]} * activation(g[i]) * u[i];
    return sum;
  };
  const Doubles gates(gate.begin(), gate.end()), ups(up.begin(), up.end());
  Doubles expected = numeric_gradient(gate, [&](const Doubles& g) { return loss(g, ups); });
  const Doubles of_up = numeric_gradient(up, [&](const Doubles& u) { return loss(gates, u); });
  expected.insert(expected.end(), of_up.begin(), of_up.end());
  for (std::size_t i = 0; i < gate.size(); ++i) expected.push_back(activation(gates[i]) * ups[i]);
  const auto run = [&] {
    std::vector<float> dgate = gate, dup = up, y = dy;  // all in place
    kernel(dgate.data(), dup.data(), y.data(), kCount, dgate.data(), dup.data(), y.data());
    dgate.insert(dgate.end(), dup.begin(), dup.end());
    dgate.insert(dgate.end(), y.begin(), y.end());
    return dgate;
  };
  expect_near(at_every_level(run), expected, 3e-5);
  expect_near(at_portable_level(run), expected, 3e-5);
}

TEST(SwigluGradient, MatchesDifferencesInPlace) {
  expect_gated_gradients(silu,
                         [](auto... arguments) { R1_CPU(swiglu_backward_cpu)(arguments...); });
}

TEST(GegluGradient, MatchesDifferencesInPlace) {
  expect_gated_gradients(gelu_tanh,
                         [](auto... arguments) { R1_CPU(geglu_backward_cpu)(arguments...); });
}

}  // namespace
}  // namespace r1::kernels

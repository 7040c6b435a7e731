#include "kernels/swiglu.h"

#include <cmath>
#include <limits>

#include "kernels/geglu.h"
#include "tests/cuda/emulated.h"

namespace r1::kernels {
namespace {

struct Case {
  std::int64_t rows, width, stride, offset;
};
// None, one, odd widths joined to one row; gate and up beside each other (stride 2 width), also
// where vectors are cut or misaligned.
const Case kCases[] = {{0, 7, 7, 0},     {1, 1, 1, 0},          {3, 7, 7, 0},
                       {5, 64, 64, 0},   {3, 1037, 1037, 0},    {2, 4096, 4096, 0},
                       {7, 64, 128, 64}, {3, 1037, 2074, 1037}, {2, 128, 300, 131}};

/// Gate and up in one buffer, and dy.
struct Data {
  std::vector<float> gate_up, dy;

  explicit Data(const Case& it)
      : gate_up(
            random_floats(it.rows * it.stride + it.offset + it.rows * it.width + it.width, 1, 4)),
        dy(random_floats(it.rows * it.width, 2)) {}
};

/// Where `up` lies: beside the gate, or behind all of it.
std::int64_t up_at(const Case& it) { return it.offset ? it.offset : it.rows * it.stride; }

double silu(double x) { return x / (1 + std::exp(-x)); }
double gelu(double x) {
  return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

/// y, dgate and dup, one after the other, each [rows, width].
template <class Activation>
std::vector<double> exact(const Case& it, const std::vector<float>& gate_up,
                          const std::vector<float>& dy, Activation f) {
  const auto count = static_cast<std::size_t>(it.rows * it.width);
  std::vector<double> all(3 * count);
  constexpr double kStep = 1e-5;
  for (std::int64_t row = 0; row < it.rows; ++row)
    for (std::int64_t k = 0; k < it.width; ++k) {
      const auto i = static_cast<std::size_t>(row * it.width + k);
      const auto at = static_cast<std::size_t>(row * it.stride + k);
      const double gate{gate_up[at]};
      const double up{gate_up[at + static_cast<std::size_t>(up_at(it))]}, slope{dy[i]};
      all[i] = f(gate) * up;
      all[count + i] = slope * up * (f(gate + kStep) - f(gate - kStep)) / (2 * kStep);
      all[2 * count + i] = slope * f(gate);
    }
  return all;
}

template <class Element, class Forward, class Backward>
std::vector<Element> on_gpu(Forward forward, Backward backward, const Case& it,
                            const std::vector<Element>& gate_up, const std::vector<Element>& dy) {
  return in_both_orders([&] {
    std::vector<Element> buffer = gate_up, y = dy;
    Element* const gate = buffer.data();
    Element* const up = gate + up_at(it);
    const auto rows = [&](auto* data) {
      return Rows<std::remove_pointer_t<decltype(data)>>{data, it.stride};
    };
    const auto dense = [&](auto* data) {
      return Rows<std::remove_pointer_t<decltype(data)>>{data, it.width};
    };
    const auto constant = [](auto all) {
      return Rows<const std::remove_pointer_t<decltype(all.data)>>{all.data, all.stride};
    };
    EXPECT_EQ(forward(constant(rows(gate)), constant(rows(up)), it.rows, it.width, dense(y.data()),
                      nullptr),
              0);
    // dgate over gate, dup over up
    EXPECT_EQ(backward(constant(rows(gate)), constant(rows(up)), dense(dy.data()), it.rows,
                       it.width, rows(gate), rows(up), nullptr),
              0);
    std::vector<Element> all = y;
    for (Element* const from : {gate, up})
      for (std::int64_t row = 0; row < it.rows; ++row)
        all.insert(all.end(), from + row * it.stride, from + row * it.stride + it.width);
    return all;
  });
}

template <class Activation, class Forward, class Backward>
void expect_float_agrees(Activation f, Forward forward, Backward backward) {
  for (const Case& it : kCases) {
    SCOPED_TRACE(testing::Message() << it.rows << " x " << it.width << " by " << it.stride);
    const Data data(it);
    // The differences of the formula are good to 1e-9 or so.
    expect_near(on_gpu(forward, backward, it, data.gate_up, data.dy),
                exact(it, data.gate_up, data.dy, f), 3e-6, 2e-6);
  }
}

template <class Activation, class Forward, class Backward>
void expect_bf16_agrees(Activation f, Forward forward, Backward backward) {
  for (const Case& it : kCases) {
    const Data data(it);
    const std::vector<bf16> gate_up = to_bf16(data.gate_up), dy = to_bf16(data.dy);
    expect_near(to_floats(on_gpu(forward, backward, it, gate_up, dy)),
                exact(it, to_floats(gate_up), to_floats(dy), f), 3e-6, 1. / 256);
  }
}

TEST(CudaSwiglu, FloatAgreesWithDouble) {
  expect_float_agrees(silu, swiglu_cuda, swiglu_backward_cuda);
}

TEST(CudaSwiglu, Bfloat16IsRoundedOnce) {
  expect_bf16_agrees(silu, swiglu_bf16_cuda, swiglu_backward_bf16_cuda);
}

TEST(CudaGeglu, FloatAgreesWithDouble) {
  expect_float_agrees(gelu, geglu_cuda, geglu_backward_cuda);
}

TEST(CudaGeglu, Bfloat16IsRoundedOnce) {
  expect_bf16_agrees(gelu, geglu_bf16_cuda, geglu_backward_bf16_cuda);
}

TEST(CudaSwiglu, FarFromZeroItIsZeroOrTheGate) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> gate = {-1e30f, -200.f, 0.f, 200.f, 1e30f, kInf, -kInf};
  const std::vector<float> up(7, 1.f);
  std::vector<float> y(7), dgate(7), dup(7);
  EXPECT_EQ(swiglu_cuda({gate.data(), 7}, {up.data(), 7}, 1, 7, {y.data(), 7}, nullptr), 0);
  EXPECT_EQ(std::vector<float>(y.begin(), y.end() - 1),
            (std::vector<float>{0, 0, 0, 200, 1e30f, kInf}));
  EXPECT_TRUE(std::isnan(y[6]));  // as in torch
  EXPECT_EQ(swiglu_backward_cuda({gate.data(), 7}, {up.data(), 7}, {up.data(), 7}, 1, 7,
                                 {dgate.data(), 7}, {dup.data(), 7}, nullptr),
            0);
  EXPECT_EQ(std::vector<float>(dgate.begin(), dgate.end() - 2),
            (std::vector<float>{0, 0, 0.5f, 1, 1}));
}

}  // namespace
}  // namespace r1::kernels

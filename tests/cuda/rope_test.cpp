#include "kernels/rope.h"

#include <cmath>

#include "tests/cuda/emulated.h"

namespace r1::kernels {
namespace {

struct Case {
  std::int64_t tokens, heads, head_dim, token_stride, head_stride, offset;
};
// None, one head of one pair, halves that vectors don't divide, more heads than a thread turns;
// queries and keys in front of values in one buffer, heads first, and an odd beginning.
const Case kCases[] = {{0, 3, 64, 192, 64, 0},    {1, 1, 2, 2, 2, 0},
                       {3, 2, 14, 28, 14, 0},     {5, 1, 80, 80, 80, 0},
                       {37, 5, 64, 320, 64, 0},   {3, 40, 128, 6144, 128, 0},
                       {7, 4, 128, 128, 1024, 0}, {2, 3, 64, 200, 64, 3}};

struct Data {
  std::vector<float> x, cos, sin;

  explicit Data(const Case& it)
      : x(random_floats(it.offset + it.tokens * it.token_stride + it.heads * it.head_stride, 1)) {
    for (const float angle : random_floats(it.tokens * it.head_dim / 2, 2, 100)) {
      cos.push_back(std::cos(angle));
      sin.push_back(std::sin(angle));
    }
  }
};

/// In double, all that lies between the heads as it was.
std::vector<double> exact(const Case& it, const std::vector<float>& x, const Data& data,
                          double sign) {
  std::vector<double> y(x.begin(), x.end());
  const std::int64_t half = it.head_dim / 2;
  for (std::int64_t token = 0; token < it.tokens; ++token)
    for (std::int64_t head = 0; head < it.heads; ++head)
      for (std::int64_t k = 0; k < half; ++k) {
        const auto low = static_cast<std::size_t>(it.offset + token * it.token_stride +
                                                  head * it.head_stride + k);
        const std::size_t high = low + static_cast<std::size_t>(half);
        const auto angle = static_cast<std::size_t>(token * half + k);
        const double cos{data.cos[angle]}, sin{sign * data.sin[angle]};
        y[low] = double{x[low]} * cos - double{x[high]} * sin;
        y[high] = double{x[high]} * cos + double{x[low]} * sin;
      }
  return y;
}

template <class Element, class Launcher>
std::vector<Element> in_place(Launcher launcher, const Case& it, const std::vector<Element>& x,
                              const Data& data) {
  return in_both_orders([&] {
    std::vector<Element> y = x;
    Element* const begin = y.data() + it.offset;
    EXPECT_EQ(launcher({begin, it.token_stride, it.head_stride}, it.tokens, it.heads, it.head_dim,
                       data.cos.data(), data.sin.data(), {begin, it.token_stride, it.head_stride},
                       nullptr),
              0);
    return y;
  });
}

TEST(CudaRope, FloatAgreesWithDoubleBothWays) {
  for (const Case& it : kCases) {
    SCOPED_TRACE(testing::Message() << it.tokens << " x " << it.heads << " x " << it.head_dim);
    const Data data(it);
    expect_near(in_place(rope_cuda, it, data.x, data), exact(it, data.x, data, 1), 1e-6, 1e-6);
    expect_near(in_place(rope_backward_cuda, it, data.x, data), exact(it, data.x, data, -1), 1e-6,
                1e-6);
  }
}

TEST(CudaRope, Bfloat16IsRoundedOnce) {
  for (const Case& it : kCases) {
    const Data data(it);
    const std::vector<bf16> x = to_bf16(data.x);
    expect_near(to_floats(in_place(rope_bf16_cuda, it, x, data)), exact(it, to_floats(x), data, 1),
                1e-6, 1. / 256);
    expect_near(to_floats(in_place(rope_backward_bf16_cuda, it, x, data)),
                exact(it, to_floats(x), data, -1), 1e-6, 1. / 256);
  }
}

TEST(CudaRope, WritesElsewhereWhatItWritesInPlace) {
  const Case it{5, 3, 48, 144, 48, 0};
  const Data data(it);
  const std::vector<float> expected = in_place(rope_cuda, it, data.x, data);
  std::vector<float> y(static_cast<std::size_t>(5 * 3 * 48));
  EXPECT_EQ(rope_cuda({data.x.data(), 144, 48}, 5, 3, 48, data.cos.data(), data.sin.data(),
                      {y.data(), 48, 5 * 48}, nullptr),  // heads first
            0);
  for (std::size_t token = 0; token < 5; ++token)
    for (std::size_t head = 0; head < 3; ++head)
      for (std::size_t k = 0; k < 48; ++k)
        EXPECT_EQ(y[(head * 5 + token) * 48 + k], expected[(token * 3 + head) * 48 + k]);
}

}  // namespace
}  // namespace r1::kernels

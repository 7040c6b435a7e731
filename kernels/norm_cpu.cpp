#include "kernels/norm.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {
namespace {

/// Groups that go together: each sum over the channels is one chain of additions.
constexpr int kTogether = 4;
/// Channels of the weight's gradient that are summed together.
constexpr int kChannels = 8;

R1_INLINE FloatRegister inverse_root(FloatRegister x) {
  float lanes[kPartLanes];
  store_register(lanes, x);
  for (int lane = 0; lane < kPartLanes; ++lane) lanes[lane] = 1.f / __builtin_sqrtf(lanes[lane]);
  return load_register(lanes);
}

R1_INLINE FloatRegister scale_of(FloatRegister squares, std::int64_t width, float eps) {
  return inverse_root(squares / static_cast<float>(width) + eps);
}

/// One register column of groups G...
template <int... G>
R1_INLINE void normalize(const float* x, std::int64_t width, const float* weight, float eps,
                         float* y, Indices<G...>) {
  const std::int64_t size = width * kLanes;
  FloatRegister squares[sizeof...(G)] = {};
  const auto add = [](FloatRegister& sum, FloatRegister value)
                       __attribute__((always_inline)) { sum += value * value; };
  for (std::int64_t k = 0; k < width; ++k)
    (add(squares[G], load_register(x + G * size + k * kLanes)), ...);
  const FloatRegister scale[] = {scale_of(squares[G], width, eps)...};
  for (std::int64_t k = 0; k < width; ++k)
    (store_register(y + G * size + k * kLanes,
                    weight[k] * (load_register(x + G * size + k * kLanes) * scale[G])),
     ...);
}

struct Backward {
  const float *x, *dy;
  std::int64_t width;
  const float* weight;
  float eps;
  float *scales, *dx;
  bool add;
};

struct Sums {
  FloatRegister squares, products;

  [[gnu::always_inline]] void add(const Backward& op, std::int64_t at, float weight) {
    const FloatRegister value = load_register(op.x + at);
    squares += value * value;
    products += weight * load_register(op.dy + at) * value;
  }
};

R1_INLINE void finish(const Backward& op, const Sums& sums, std::int64_t start, float* scales) {
  const auto width = static_cast<float>(op.width);
  const FloatRegister scale = scale_of(sums.squares, op.width, op.eps);
  const FloatRegister pull = sums.products / width * scale * scale;
  store_register(scales, scale);
  for (std::int64_t k = 0; k < op.width; ++k) {
    const std::int64_t at = start + k * kLanes;
    const FloatRegister slope = op.weight[k] * load_register(op.dy + at);
    const FloatRegister value = scale * (slope - load_register(op.x + at) * pull);
    store_register(op.dx + at, op.add ? load_register(op.dx + at) + value : value);
  }
}

/// One register column, `at`, of groups first + G...
template <int... G>
R1_INLINE void backward(const Backward& op, std::int64_t first, int at, Indices<G...>) {
  const std::int64_t size = op.width * kLanes, start = first * size + at;
  Sums sums[sizeof...(G)] = {};
  for (std::int64_t k = 0; k < op.width; ++k)
    (sums[G].add(op, start + G * size + k * kLanes, op.weight[k]), ...);
  (finish(op, sums[G], start + G * size, op.scales + (first + G) * kLanes + at), ...);
}

/// Calls body(group, Indices) for all of `count` groups.
template <class Body>
R1_INLINE void each_group(std::int64_t count, const Body& body) {
  std::int64_t group = 0;
  for (; group + kTogether <= count; group += kTogether) body(group, UpTo<kTogether>{});
  for (; group < count; ++group) body(group, UpTo<1>{});
}

/// Channels K... of `width` of the weight's gradient.
template <int... K>
R1_INLINE void weight_gradient(const float* x, const float* dy, const float* scales,
                               std::int64_t groups, std::int64_t width, float* dweight,
                               Indices<K...>) {
  f32x16 sums[sizeof...(K)] = {};
  for (std::int64_t group = 0; group < groups; ++group) {
    const float* const from = x + group * width * kLanes;
    const float* const gradient = dy + group * width * kLanes;
    const f32x16 scale = load(scales + group * kLanes);
    ((sums[K] += load(from + K * kLanes) * scale * load(gradient + K * kLanes)), ...);
  }
  ((dweight[K] = horizontal_sum(sums[K])), ...);
}

}  // namespace

void rms_norm_backward_cpu(const float* x, const float* dy, std::int64_t panels,
                           std::int64_t groups, std::int64_t width, const float* weight, float eps,
                           float* scales, float* dx, bool add) noexcept {
  const Backward op{x, dy, width, weight, eps, scales, dx, add};
  each_group(panels * groups, [&](std::int64_t first, auto together) {
    for (int at = 0; at < kLanes; at += kPartLanes) backward(op, first, at, together);
  });
}

void rms_norm_weight_gradient_cpu(const float* x, const float* dy, const float* scales,
                                  std::int64_t panels, std::int64_t groups, std::int64_t width,
                                  std::int64_t begin, std::int64_t end, float* dweight) noexcept {
  const auto run = [&](std::int64_t k, auto channels) {
    weight_gradient(x + k * kLanes, dy + k * kLanes, scales, panels * groups, width, dweight + k,
                    channels);
  };
  std::int64_t k = begin;
  for (; k + kChannels <= end; k += kChannels) run(k, UpTo<kChannels>{});
  for (; k < end; ++k) run(k, UpTo<1>{});
}

void rms_norm_cpu(const float* x, std::int64_t panels, std::int64_t groups, std::int64_t width,
                  const float* weight, float eps, float* y) noexcept {
  each_group(panels * groups, [&](std::int64_t first, auto together) {
    const std::int64_t start = first * width * kLanes;
    for (int at = 0; at < kLanes; at += kPartLanes)
      normalize(x + start + at, width, weight, eps, y + start + at, together);
  });
}

}  // namespace r1::kernels::R1_ISA

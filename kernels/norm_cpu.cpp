#include "kernels/norm.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {
namespace {

/// Groups that go together: each sum over the channels is one chain of additions.
constexpr int kTogether = 4;

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
  std::int64_t groups, width;
  const float* weight;
  float eps;
  const float* residual;
  float *dx, *partials;
};

struct Sums {
  FloatRegister squares, products;

  [[gnu::always_inline]] void add(const Backward& op, std::int64_t at, float weight) {
    const FloatRegister value = load_register(op.x + at);
    squares += value * value;
    products += weight * load_register(op.dy + at) * value;
  }
};

/// Of one group: r, and how strongly x pulls.
struct Scale {
  float scale[kLanes], pull[kLanes];

  [[gnu::always_inline]] void keep(const Backward& op, const Sums& sums, int at) {
    const FloatRegister r = scale_of(sums.squares, op.width, op.eps);
    store_register(scale + at, r);
    store_register(pull + at, sums.products / static_cast<float>(op.width) * r * r);
  }
};

/// A group's part of its panel's sums for the weight's gradient.
R1_INLINE void add_partials(const Backward& op, std::int64_t group, const Scale& scale) {
  float* const to = op.partials + group / op.groups * op.width;
  const bool first = group % op.groups == 0;
  const f32x16 r = load(scale.scale);
  for (std::int64_t k = 0; k < op.width; ++k) {
    const std::int64_t at = (group * op.width + k) * kLanes;
    f32x16 products{};  // a sum already, lest one level fuses the product with what follows
    products += load(op.x + at) * r * load(op.dy + at);
    const float sum = horizontal_sum(products);
    to[k] = first ? sum : to[k] + sum;
  }
}

R1_INLINE void finish(const Backward& op, std::int64_t group, const Scale& kept) {
  for (int lane = 0; lane < kLanes; lane += kPartLanes) {
    const FloatRegister scale = load_register(kept.scale + lane);
    const FloatRegister pull = load_register(kept.pull + lane);
    for (std::int64_t k = 0; k < op.width; ++k) {
      const std::int64_t at = (group * op.width + k) * kLanes + lane;
      FloatRegister slope{};  // as above
      slope += op.weight[k] * load_register(op.dy + at);
      FloatRegister dx = op.residual ? load_register(op.residual + at) : FloatRegister{};
      dx += scale * (slope - load_register(op.x + at) * pull);
      store_register(op.dx + at, dx);
    }
  }
}

/// Groups first + G...
template <int... G>
R1_INLINE void backward(const Backward& op, std::int64_t first, Indices<G...>) {
  const std::int64_t size = op.width * kLanes;
  Scale scales[sizeof...(G)];
  for (int at = 0; at < kLanes; at += kPartLanes) {
    Sums sums[sizeof...(G)] = {};
    for (std::int64_t k = 0; k < op.width; ++k)
      (sums[G].add(op, (first + G) * size + k * kLanes + at, op.weight[k]), ...);
    (scales[G].keep(op, sums[G], at), ...);
  }
  if (op.partials) (add_partials(op, first + G, scales[G]), ...);
  (finish(op, first + G, scales[G]), ...);
}

/// Calls body(group, Indices) for all of `count` groups.
template <class Body>
R1_INLINE void each_group(std::int64_t count, const Body& body) {
  std::int64_t group = 0;
  for (; group + kTogether <= count; group += kTogether) body(group, UpTo<kTogether>{});
  for (; group < count; ++group) body(group, UpTo<1>{});
}

}  // namespace

void rms_norm_backward_cpu(const float* x, const float* dy, std::int64_t panels,
                           std::int64_t groups, std::int64_t width, const float* weight, float eps,
                           const float* residual, float* dx, float* partials) noexcept {
  const Backward op{x, dy, groups, width, weight, eps, residual, dx, partials};
  each_group(panels * groups,
             [&](std::int64_t first, auto together) { backward(op, first, together); });
}

void rms_norm_weight_gradient_cpu(const float* partials, std::int64_t panels, std::int64_t width,
                                  std::int64_t begin, std::int64_t end, float* dweight) noexcept {
  for (std::int64_t k = begin; k < end; ++k) dweight[k] = 0.f;
  for (std::int64_t panel = 0; panel < panels; ++panel)
    for (std::int64_t k = begin; k < end; ++k) dweight[k] += partials[panel * width + k];
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

#include "kernels/norm.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {
namespace {

FloatRegister inverse_root(FloatRegister x) {
  for (int lane = 0; lane < kPartLanes; ++lane) x[lane] = 1.f / __builtin_sqrtf(x[lane]);
  return x;
}

/// One register column of one group.
R1_INLINE void normalize(const float* x, std::int64_t width, const float* weight, float eps,
                         float* y) {
  FloatRegister squares{};
  for (std::int64_t k = 0; k < width; ++k) {
    const FloatRegister value = load_register(x + k * kLanes);
    squares += value * value;
  }
  const FloatRegister scale = inverse_root(squares / static_cast<float>(width) + eps);
  for (std::int64_t k = 0; k < width; ++k)
    store_register(y + k * kLanes, weight[k] * (load_register(x + k * kLanes) * scale));
}

R1_INLINE void backward(const float* x, const float* dy, std::int64_t width, const float* weight,
                        float eps, float* scales, float* dx, bool add) {
  FloatRegister squares{}, products{};
  for (std::int64_t k = 0; k < width; ++k) {
    const FloatRegister value = load_register(x + k * kLanes);
    squares += value * value;
    products += weight[k] * load_register(dy + k * kLanes) * value;
  }
  const FloatRegister scale = inverse_root(squares / static_cast<float>(width) + eps);
  const FloatRegister pull = products / static_cast<float>(width) * scale * scale;
  store_register(scales, scale);
  for (std::int64_t k = 0; k < width; ++k) {
    const FloatRegister slope = weight[k] * load_register(dy + k * kLanes);
    const FloatRegister value = scale * (slope - load_register(x + k * kLanes) * pull);
    store_register(dx + k * kLanes, add ? load_register(dx + k * kLanes) + value : value);
  }
}

}  // namespace

void rms_norm_backward_cpu(const float* x, const float* dy, std::int64_t panels,
                           std::int64_t groups, std::int64_t width, const float* weight, float eps,
                           float* scales, float* dx, bool add) noexcept {
  for (std::int64_t group = 0; group < panels * groups; ++group) {
    const std::int64_t start = group * width * kLanes;
    for (int at = 0; at < kLanes; at += kPartLanes)
      backward(x + start + at, dy + start + at, width, weight, eps, scales + group * kLanes + at,
               dx + start + at, add);
  }
}

void rms_norm_weight_gradient_cpu(const float* x, const float* dy, const float* scales,
                                  std::int64_t panels, std::int64_t groups, std::int64_t width,
                                  std::int64_t begin, std::int64_t end, float* dweight) noexcept {
  for (std::int64_t k = begin; k < end; ++k) {
    f32x16 sum{};
    for (std::int64_t group = 0; group < panels * groups; ++group) {
      const std::int64_t at = (group * width + k) * kLanes;
      sum += load(x + at) * load(scales + group * kLanes) * load(dy + at);
    }
    dweight[k] = horizontal_sum(sum);
  }
}

void rms_norm_cpu(const float* x, std::int64_t panels, std::int64_t groups, std::int64_t width,
                  const float* weight, float eps, float* y) noexcept {
  for (std::int64_t group = 0; group < panels * groups; ++group) {
    const std::int64_t start = group * width * kLanes;
    for (int at = 0; at < kLanes; at += kPartLanes)
      normalize(x + start + at, width, weight, eps, y + start + at);
  }
}

}  // namespace r1::kernels::R1_ISA

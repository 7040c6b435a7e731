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

}  // namespace

void rms_norm_cpu(const float* x, std::int64_t panels, std::int64_t groups, std::int64_t width,
                  const float* weight, float eps, float* y) noexcept {
  for (std::int64_t group = 0; group < panels * groups; ++group) {
    const std::int64_t start = group * width * kLanes;
    for (int at = 0; at < kLanes; at += kPartLanes)
      normalize(x + start + at, width, weight, eps, y + start + at);
  }
}

}  // namespace r1::kernels::R1_ISA

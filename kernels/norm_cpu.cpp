#include "kernels/norm.h"

#include "kernels/common/native.h"

namespace r1::kernels::R1_ISA {
namespace {

fnative inverse_root(fnative x) {
  for (int lane = 0; lane < kNative; ++lane) x[lane] = 1.f / __builtin_sqrtf(x[lane]);
  return x;
}

/// One register column of one group.
R1_INLINE void normalize(const float* x, std::int64_t width, const float* weight, float eps,
                         float* y) {
  fnative squares{};
  for (std::int64_t k = 0; k < width; ++k) {
    const fnative value = load_native(x + k * kLanes);
    squares += value * value;
  }
  const fnative scale = inverse_root(squares / static_cast<float>(width) + eps);
  for (std::int64_t k = 0; k < width; ++k)
    store_native(y + k * kLanes, weight[k] * (load_native(x + k * kLanes) * scale));
}

}  // namespace

void rms_norm_cpu(const float* x, std::int64_t panels, std::int64_t groups, std::int64_t width,
                  const float* weight, float eps, float* y) noexcept {
  for (std::int64_t group = 0; group < panels * groups; ++group) {
    const std::int64_t start = group * width * kLanes;
    for (int at = 0; at < kLanes; at += kNative)
      normalize(x + start + at, width, weight, eps, y + start + at);
  }
}

}  // namespace r1::kernels::R1_ISA

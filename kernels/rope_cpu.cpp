#include "kernels/rope.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {
namespace {

/// @param sign  1 turns forward, -1 back
R1_INLINE void rotate(float* x, std::int64_t panels, std::int64_t heads, std::int64_t head_dim,
                      const float* cos, const float* sin, float sign) {
  const std::int64_t half = head_dim / 2 * kLanes;
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    const float* const cosines = cos + panel * half;
    const float* const sines = sin + panel * half;
    for (std::int64_t head = 0; head < heads; ++head) {
      float* const low = x + (panel * heads + head) * head_dim * kLanes;
      float* const high = low + half;
      for (std::int64_t i = 0; i < half; i += kPartLanes) {
        const FloatRegister a = load_register(low + i), b = load_register(high + i);
        const FloatRegister c = load_register(cosines + i), s = load_register(sines + i) * sign;
        store_register(low + i, a * c - b * s);
        store_register(high + i, b * c + a * s);
      }
    }
  }
}

}  // namespace

void rope_cpu(float* x, std::int64_t panels, std::int64_t heads, std::int64_t head_dim,
              const float* cos, const float* sin) noexcept {
  rotate(x, panels, heads, head_dim, cos, sin, 1.f);
}

void rope_backward_cpu(float* dx, std::int64_t panels, std::int64_t heads, std::int64_t head_dim,
                       const float* cos, const float* sin) noexcept {
  rotate(dx, panels, heads, head_dim, cos, sin, -1.f);
}

}  // namespace r1::kernels::R1_ISA

#include "kernels/rope.h"

#include "kernels/common/native.h"

namespace r1::kernels::R1_ISA {

void rope_cpu(float* x, std::int64_t panels, std::int64_t heads, std::int64_t head_dim,
              const float* cos, const float* sin) noexcept {
  const std::int64_t half = head_dim / 2 * kLanes;
  for (std::int64_t panel = 0; panel < panels; ++panel) {
    const float* const cosines = cos + panel * half;
    const float* const sines = sin + panel * half;
    for (std::int64_t head = 0; head < heads; ++head) {
      float* const low = x + (panel * heads + head) * head_dim * kLanes;
      float* const high = low + half;
      for (std::int64_t i = 0; i < half; i += kNative) {
        const fnative a = load_native(low + i), b = load_native(high + i);
        const fnative c = load_native(cosines + i), s = load_native(sines + i);
        store_native(low + i, a * c - b * s);
        store_native(high + i, b * c + a * s);
      }
    }
  }
}

}  // namespace r1::kernels::R1_ISA

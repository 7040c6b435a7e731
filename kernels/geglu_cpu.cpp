#include "kernels/geglu.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {

void geglu_cpu(const float* gate, const float* up, std::int64_t count, float* y) noexcept {
  constexpr float kTwiceRoot = 1.59576912f;  // 2 sqrt(2 / pi)
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const f32x16 x = load(gate + i);
    const f32x16 twice = (x + x * x * x * 0.044715f) * kTwiceRoot;
    store(y + i, x / (exp(-twice) + 1.f) * load(up + i));
  }
}

}  // namespace r1::kernels::R1_ISA

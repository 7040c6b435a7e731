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

void geglu_backward_cpu(const float* gate, const float* up, const float* dy, std::int64_t count,
                        float* dgate, float* dup, float* y) noexcept {
  constexpr float kTwiceRoot = 1.59576912f;  // 2 sqrt(2 / pi)
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const f32x16 x = load(gate + i), other = load(up + i), slope = load(dy + i);
    const f32x16 twice = (x + x * x * x * 0.044715f) * kTwiceRoot;
    const f32x16 sigmoid = splat(1.f) / (exp(-twice) + 1.f), gelu = x * sigmoid;
    const f32x16 rise = (x * x * 0.134145f + 1.f) * kTwiceRoot;
    store(dgate + i, slope * other * (sigmoid + gelu * (splat(1.f) - sigmoid) * rise));
    store(dup + i, slope * gelu);
    store(y + i, gelu * other);
  }
}

}  // namespace r1::kernels::R1_ISA

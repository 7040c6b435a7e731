#include "kernels/swiglu.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {

void swiglu_cpu(const float* gate, const float* up, std::int64_t count, float* y) noexcept {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const f32x16 x = load(gate + i);
    store(y + i, x / (exp(-x) + 1.f) * load(up + i));
  }
}

void swiglu_backward_cpu(const float* gate, const float* up, const float* dy, std::int64_t count,
                         float* dgate, float* dup, float* y) noexcept {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const f32x16 x = load(gate + i), other = load(up + i), slope = load(dy + i);
    const f32x16 sigmoid = splat(1.f) / (exp(-x) + 1.f), silu = x * sigmoid;
    store(dgate + i, slope * other * (sigmoid + silu * (splat(1.f) - sigmoid)));
    store(dup + i, slope * silu);
    store(y + i, silu * other);
  }
}

}  // namespace r1::kernels::R1_ISA

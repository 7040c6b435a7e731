#include "kernels/swiglu.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {

void swiglu_cpu(const float* gate, const float* up, std::int64_t count, float* y) noexcept {
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const f32x16 x = load(gate + i);
    store(y + i, x / (exp(-x) + 1.f) * load(up + i));
  }
}

}  // namespace r1::kernels::R1_ISA

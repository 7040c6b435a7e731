#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

namespace r1::kernels {
/// The gate of a SwiGLU feed-forward layer: y = silu(gate) * up, silu(x) = x / (1 + e^-x).
///
/// Traffic:  12 bytes per element. Memory-bound.
/// Numerics: fp32, elementwise; e^-x within 2 ulp, silu(-inf) is NaN as in torch.
///
/// @param gate, up  [count]
/// @param count     a multiple of 16, as panels have
/// @param y         [count]; may be `gate` or `up`
R1_PER_ISA(void swiglu_cpu(const float* gate, const float* up, std::int64_t count,
                           float* y) noexcept;)
/// Its gradients, and y once more for the gradient of what it is multiplied by.
///
/// @param dgate, dup, y  [count]; dgate may be gate itself, dup `up` itself, y dy itself
R1_PER_ISA(void swiglu_backward_cpu(const float* gate, const float* up, const float* dy,
                                    std::int64_t count, float* dgate, float* dup,
                                    float* y) noexcept;)
}  // namespace r1::kernels

#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

namespace r1::kernels {
/// The gate of a feed-forward layer as in Gemma: y = gelu(gate) * up, with the tanh form of GELU,
///
///     gelu(x) = x / 2 (1 + tanh(u)) = x / (1 + e^-2u),  u = sqrt(2 / pi) (x + 0.044715 x^3)
///
/// Traffic:  12 bytes per element. Memory-bound.
/// Numerics: fp32, elementwise; e^-2u within 2 ulp, gelu(-inf) is NaN as in torch.
///
/// @param gate, up  [count]
/// @param count     a multiple of 16, as panels have
/// @param y         [count]; may be `gate` or `up`
R1_PER_ISA(void geglu_cpu(const float* gate, const float* up, std::int64_t count,
                          float* y) noexcept;)
/// Its gradients, and y once more for the gradient of what it is multiplied by.
///
/// @param dgate, dup, y  [count]; dgate may be gate itself, dup `up` itself, y dy itself
R1_PER_ISA(void geglu_backward_cpu(const float* gate, const float* up, const float* dy,
                                   std::int64_t count, float* dgate, float* dup,
                                   float* y) noexcept;)
}  // namespace r1::kernels

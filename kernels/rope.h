#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

namespace r1::kernels {
/// Rotary position embedding of panels, in the half-split layout of Hugging Face models:
///
///     (x[k], x[k + half]) <- (x[k] cos - x[k + half] sin, x[k + half] cos + x[k] sin)
///
/// for k < half = head_dim / 2, with the angle of channel k at the position of the lane's row.
///
/// Traffic:  one read and one write of x. Memory-bound.
/// Numerics: fp32; lanes are independent.
///
/// @param x         [panels, heads, head_dim, 16], in place
/// @param cos, sin  [panels, head_dim / 2, 16], one position per lane
R1_PER_ISA(void rope_cpu(float* x, std::int64_t panels, std::int64_t heads, std::int64_t head_dim,
                         const float* cos, const float* sin) noexcept;)
/// Its gradient, in place: the rotation back.
R1_PER_ISA(void rope_backward_cpu(float* dx, std::int64_t panels, std::int64_t heads,
                                  std::int64_t head_dim, const float* cos,
                                  const float* sin) noexcept;)
}  // namespace r1::kernels

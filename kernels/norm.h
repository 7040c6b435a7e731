#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

namespace r1::kernels {
/// RMSNorm of panels (16 rows of the batch in lanes), over groups of `width` channels:
///
///     y[g, k] = weight[k] * x[g, k] / sqrt(mean over k of x[g, k]^2 + eps)
///
/// One group of the hidden size normalises a layer's input; one group per head, the queries and
/// keys of Qwen3.
///
/// Traffic:  two reads and one write of x; the second read hits L1. Memory-bound.
/// Numerics: fp32, squares summed over k in order; bits do not depend on the batch or the lane.
///
/// @param x       [panels, groups, width, 16]
/// @param weight  [width], shared by the groups
/// @param y       like x; may be x itself
R1_PER_ISA(void rms_norm_cpu(const float* x, std::int64_t panels, std::int64_t groups,
                             std::int64_t width, const float* weight, float eps,
                             float* y) noexcept;)
}  // namespace r1::kernels

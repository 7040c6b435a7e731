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

/// Gradients of RMSNorm: with r = 1 / sqrt(mean of x^2 + eps),
///
///     dx[g, k] = r (weight[k] dy[g, k] - x[g, k] r^2 mean over j of weight[j] dy[g, j] x[g, j])
///     dweight[k] = sum over rows and g of dy[g, k] x[g, k] r
///
/// @param scales  [panels, groups, 16], r, for the weight's gradient
/// @param dx      [panels, groups, width, 16]; may be dy itself
/// @param add     adds to what dx holds
R1_PER_ISA(void rms_norm_backward_cpu(const float* x, const float* dy, std::int64_t panels,
                                      std::int64_t groups, std::int64_t width, const float* weight,
                                      float eps, float* scales, float* dx, bool add) noexcept;)
/// Channels k in [begin, end). Lanes that hold no row of the batch must be 0 in dy.
R1_PER_ISA(void rms_norm_weight_gradient_cpu(const float* x, const float* dy, const float* scales,
                                             std::int64_t panels, std::int64_t groups,
                                             std::int64_t width, std::int64_t begin,
                                             std::int64_t end, float* dweight) noexcept;)
}  // namespace r1::kernels

#pragma once
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/isa.h"

namespace r1::kernels {
/// Projection of a batch that lies in SIMD lanes, to the channels n in [begin, end):
///
///     y[n, lane] = sum over k of weight[n, k] * x[k, lane]  (+ bias[n])  (+ y[n, lane])
///
/// A panel holds 16 rows of the batch, one per lane: [width][16]. The weights are read in place, in
/// the row-major [out, in] layout of torch; nothing is packed or copied. A bfloat16 weight counts
/// as the float that it is.
///
/// Traffic:  the weights once per call while `panels` panels fit the cache. Compute-bound from two
///           panels on.
/// Numerics: fp32, one chain of fused multiply-adds over k = 0, 1, ... for each dot product, so its
///           bits do not depend on the batch, the lane or the tile. The portable level may not
///           fuse.
///
/// @param x           [panels, in, 16]
/// @param weight      [out, in], row-major
/// @param bias        [out] or null
/// @param begin, end  channels to compute; those of other threads are left alone
/// @param y           [panels, out, 16]; must not overlap x
/// @param add         adds to what y holds, for a residual connection, instead of overwriting it
R1_PER_ISA(void linear_cpu(const float* x, std::int64_t panels, std::int64_t in,
                           const float* weight, const float* bias, std::int64_t out,
                           std::int64_t begin, std::int64_t end, float* y, bool add) noexcept;)
R1_PER_ISA(void linear_bf16_cpu(const float* x, std::int64_t panels, std::int64_t in,
                                const bf16* weight, const float* bias, std::int64_t out,
                                std::int64_t begin, std::int64_t end, float* y, bool add) noexcept;)
}  // namespace r1::kernels

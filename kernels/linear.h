#pragma once
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/isa.h"

namespace r1::kernels {
/// Projection of a batch that lies in SIMD lanes, to the channels n in [begin, end):
///
///     y[n, lane] = sum over k of weight[n, k] * x[k, lane]  (+ bias[n])  (+ residual[n, lane])
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
/// @param residual    like y, and may be y itself; or null
/// @param y           [panels, out, 16]; must not overlap x
R1_PER_ISA(void linear_cpu(const float* x, std::int64_t panels, std::int64_t in,
                           const float* weight, const float* bias, std::int64_t out,
                           std::int64_t begin, std::int64_t end, const float* residual,
                           float* y) noexcept;)
R1_PER_ISA(void linear_bf16_cpu(const float* x, std::int64_t panels, std::int64_t in,
                                const bf16* weight, const float* bias, std::int64_t out,
                                std::int64_t begin, std::int64_t end, const float* residual,
                                float* y) noexcept;)

/// Output channels whose weights a gradient of the input packs at a time.
constexpr std::int64_t kGradientRows = 128;
/// Floats that it packs them into.
constexpr std::int64_t input_gradient_workspace(std::int64_t in) {
  return (in + 8) * kGradientRows + (in / 4 + 1) * 16;
}

/// Gradient of the input:
///
///     dx[k, lane] = sum over n of weight[n, k] * dy[n, lane]  (+ dx[k, lane])
///
/// Numerics: fp32, one chain of fused multiply-adds over n = 0, 1, ... each.
///
/// @param dy         [panels, out, 16]
/// @param workspace  [input_gradient_workspace(in)]
/// @param dx         [panels, in, 16]; must not overlap dy
R1_PER_ISA(void linear_input_gradient_cpu(const float* dy, std::int64_t panels, std::int64_t out,
                                          const float* weight, std::int64_t in, float* workspace,
                                          float* dx, bool add) noexcept;)
R1_PER_ISA(void linear_input_gradient_bf16_cpu(const float* dy, std::int64_t panels,
                                               std::int64_t out, const bf16* weight,
                                               std::int64_t in, float* workspace, float* dx,
                                               bool add) noexcept;)

/// Columns that lie beside each other in `linear_rows`.
constexpr std::int64_t kRowTile = 32;
/// Panels from one tile to the next: never a power of two, at which the tiles of the same rows
/// would share a few sets of the cache.
[[gnu::always_inline]] constexpr std::int64_t rows_pitch(std::int64_t panels) {
  return (panels + 6) / 16 * 16 + 9;
}
/// Floats of `linear_rows`.
constexpr std::int64_t rows_size(std::int64_t panels, std::int64_t width) {
  return (width + kRowTile - 1) / kRowTile * kRowTile * rows_pitch(panels) * 16;
}

/// The panels [begin, end) of `panels` by rows, as the gradient of the weights reads them: tiles of
/// 32 columns, [tile][rows_pitch(panels) * 16][32].
///
/// @param x     [panels, width, 16]
/// @param rows  [rows_size(panels, width)]
R1_PER_ISA(void linear_rows_cpu(const float* x, std::int64_t begin, std::int64_t end,
                                std::int64_t panels, std::int64_t width, float* rows) noexcept;)

/// Gradient of the weights, rows n in [begin, end), and of the bias:
///
///     dw[n, k] = sum over rows of dy[n, row] * x[k, row]  (+ dw[n, k])
///
/// Numerics: fp32, one chain of fused multiply-adds over the rows in order each; the bias sums each
///           lane over the panels, then the lanes pairwise. Lanes that hold no row of the batch
///           must be 0 in dy and finite in x.
///
/// @param dy    [panels, out, 16]
/// @param rows  x, from `linear_rows`
/// @param dw    [out, in]
/// @param db    [out]
R1_PER_ISA(void linear_weight_gradient_cpu(const float* dy, const float* rows, std::int64_t panels,
                                           std::int64_t out, std::int64_t in, std::int64_t begin,
                                           std::int64_t end, float* dw, bool add) noexcept;)
R1_PER_ISA(void linear_bias_gradient_cpu(const float* dy, std::int64_t panels, std::int64_t out,
                                         std::int64_t begin, std::int64_t end, float* db,
                                         bool add) noexcept;)
}  // namespace r1::kernels

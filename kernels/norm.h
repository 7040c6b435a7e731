#pragma once
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/cuda.h"
#include "kernels/common/isa.h"
#include "kernels/common/rows.h"

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
/// @param residual  like dx, added to it; may be dx itself; or null
/// @param dx        [panels, groups, width, 16]; may be dy itself
/// @param partials  [panels, width], each panel's sums for the weight's gradient; null: not wanted.
///                  Lanes that hold no row of the batch must be 0 in dy.
R1_PER_ISA(void rms_norm_backward_cpu(const float* x, const float* dy, std::int64_t panels,
                                      std::int64_t groups, std::int64_t width, const float* weight,
                                      float eps, const float* residual, float* dx,
                                      float* partials) noexcept;)
/// Channels k in [begin, end), from the panels' sums, in order.
R1_PER_ISA(void rms_norm_weight_gradient_cpu(const float* partials, std::int64_t panels,
                                             std::int64_t width, std::int64_t begin,
                                             std::int64_t end, float* dweight) noexcept;)

/// On the GPU, of rows in memory rather than panels, with the addition before it:
///
///     h = x + residual,  y[k] = weight[k] * h[k] / sqrt(mean of h^2 + eps)
///
/// Gemma's 1 + weight is its caller's sum, as on the CPU; with `_wide_weight_` that sum, or any
/// weight, stays in float32 beside bfloat16 rows.
///
/// Traffic:  one read of x and the residual, one write of h and y. Memory-bound. What a row has
///           beyond 8,192 channels is read a second time.
/// Launch:   1 to 256 threads of a block take a row, by its width; it waits in their registers.
/// Numerics: fp32; h is rounded to its dtype, then normalised. A row's bits depend on its width
///           alone: neither on the rows beside it nor on alignment nor on the GPU.
///
/// @param x         [rows, heads, width]
/// @param residual  like x, or null: h = x
/// @param weight    [width], shared by the heads
/// @param h         like x, or null: not written; may be x or the residual
/// @param y         like x; may be x, or the residual where h is null
/// @param eps       > 0
R1_CUDA_API int rms_norm_cuda(Heads<const float> x, Heads<const float> residual, std::int64_t rows,
                              std::int64_t heads, std::int64_t width, const float* weight,
                              float eps, Heads<float> h, Heads<float> y, CudaStream stream);
R1_CUDA_API int rms_norm_bf16_cuda(Heads<const bf16> x, Heads<const bf16> residual,
                                   std::int64_t rows, std::int64_t heads, std::int64_t width,
                                   const bf16* weight, float eps, Heads<bf16> h, Heads<bf16> y,
                                   CudaStream stream);
R1_CUDA_API int rms_norm_wide_weight_cuda(Heads<const bf16> x, Heads<const bf16> residual,
                                          std::int64_t rows, std::int64_t heads, std::int64_t width,
                                          const float* weight, float eps, Heads<bf16> h,
                                          Heads<bf16> y, CudaStream stream);

/// Into how many parts the backward pass divides rows, at most: three blocks, two of long rows, for
/// each multiprocessor of a Hopper, on any GPU, so that sums have one order on all of them.
constexpr std::int64_t rms_norm_parts_cuda(std::int64_t width) { return width <= 4096 ? 396 : 264; }

/// Its gradients, from h: what rms_norm_backward_cpu says, plus that of h itself, which is that of
/// x and of the residual alike.
///
/// Traffic:  one read of x, dy and dh, one write of dx, and `workspace`, mostly in the L2 cache.
/// Numerics: as above; the weight's gradient is summed in fp32 over the rows of a part in order,
///           then over parts by a fixed tree: two runs give the same bits, on any GPU.
///
/// @param x          h of the forward pass
/// @param dh         like x, added to dx; or null
/// @param dx         like x; may be x, dy or dh
/// @param workspace  [rms_norm_parts_cuda(width), width], or null where dweight is
/// @param dweight    [width], or null: not wanted
R1_CUDA_API int rms_norm_backward_cuda(Heads<const float> x, Heads<const float> dy,
                                       Heads<const float> dh, std::int64_t rows, std::int64_t heads,
                                       std::int64_t width, const float* weight, float eps,
                                       Heads<float> dx, float* workspace, float* dweight,
                                       CudaStream stream);
R1_CUDA_API int rms_norm_backward_bf16_cuda(Heads<const bf16> x, Heads<const bf16> dy,
                                            Heads<const bf16> dh, std::int64_t rows,
                                            std::int64_t heads, std::int64_t width,
                                            const bf16* weight, float eps, Heads<bf16> dx,
                                            float* workspace, bf16* dweight, CudaStream stream);
R1_CUDA_API int rms_norm_backward_wide_weight_cuda(Heads<const bf16> x, Heads<const bf16> dy,
                                                   Heads<const bf16> dh, std::int64_t rows,
                                                   std::int64_t heads, std::int64_t width,
                                                   const float* weight, float eps, Heads<bf16> dx,
                                                   float* workspace, float* dweight,
                                                   CudaStream stream);
}  // namespace r1::kernels

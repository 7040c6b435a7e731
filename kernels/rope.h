#pragma once
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/cuda.h"
#include "kernels/common/isa.h"
#include "kernels/common/rows.h"

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

/// On the GPU, of rows in memory rather than panels: queries and keys beside each other are turned
/// by one launch, as so many heads.
///
/// Traffic:  one read of x, one write of y; angles once per four heads (two in float32), mostly
///           from the L1 cache. Memory-bound.
/// Launch:   a thread takes eight channels and their partners, of those heads.
/// Numerics: fp32; bfloat16 is rounded once.
///
/// @param x         [tokens, heads, head_dim]
/// @param cos, sin  [tokens, head_dim / 2], contiguous
/// @param y         like x; may be x
R1_CUDA_API int rope_cuda(Heads<const float> x, std::int64_t tokens, std::int64_t heads,
                          std::int64_t head_dim, const float* cos, const float* sin, Heads<float> y,
                          CudaStream stream);
R1_CUDA_API int rope_bf16_cuda(Heads<const bf16> x, std::int64_t tokens, std::int64_t heads,
                               std::int64_t head_dim, const float* cos, const float* sin,
                               Heads<bf16> y, CudaStream stream);
R1_CUDA_API int rope_backward_cuda(Heads<const float> dy, std::int64_t tokens, std::int64_t heads,
                                   std::int64_t head_dim, const float* cos, const float* sin,
                                   Heads<float> dx, CudaStream stream);
R1_CUDA_API int rope_backward_bf16_cuda(Heads<const bf16> dy, std::int64_t tokens,
                                        std::int64_t heads, std::int64_t head_dim, const float* cos,
                                        const float* sin, Heads<bf16> dx, CudaStream stream);
}  // namespace r1::kernels

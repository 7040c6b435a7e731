#pragma once
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/cuda.h"
#include "kernels/common/isa.h"
#include "kernels/common/rows.h"

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

/// On the GPU, of rows in memory rather than panels: gate and up may lie beside each other in one
/// [rows, 2 width] buffer.
///
/// Traffic:  one read of gate and up, one write of y; backward three reads, two writes.
///           Memory-bound.
/// Launch:   a thread to eight elements.
/// Numerics: fp32; bfloat16 is rounded once; the sigmoid within 1e-7 (2 + |x|) of itself.
///
/// @param gate, up  [rows, width]
/// @param y         [rows, width]; may be `gate` or `up`
R1_CUDA_API int swiglu_cuda(Rows<const float> gate, Rows<const float> up, std::int64_t rows,
                            std::int64_t width, Rows<float> y, CudaStream stream);
R1_CUDA_API int swiglu_bf16_cuda(Rows<const bf16> gate, Rows<const bf16> up, std::int64_t rows,
                                 std::int64_t width, Rows<bf16> y, CudaStream stream);
/// @param dgate, dup  [rows, width]; dgate may be gate itself, dup `up` itself
R1_CUDA_API int swiglu_backward_cuda(Rows<const float> gate, Rows<const float> up,
                                     Rows<const float> dy, std::int64_t rows, std::int64_t width,
                                     Rows<float> dgate, Rows<float> dup, CudaStream stream);
R1_CUDA_API int swiglu_backward_bf16_cuda(Rows<const bf16> gate, Rows<const bf16> up,
                                          Rows<const bf16> dy, std::int64_t rows,
                                          std::int64_t width, Rows<bf16> dgate, Rows<bf16> dup,
                                          CudaStream stream);
}  // namespace r1::kernels

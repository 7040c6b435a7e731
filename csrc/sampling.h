#pragma once
#include <ATen/core/Tensor.h>

#include <tuple>

namespace r1 {
/// logits [N, V] float32 or bfloat16, uniforms [N] float64 in (0, 1) -> tokens [N] int64, and
/// float32 [N] each: log-probabilities, truncated log-probabilities, entropies; see
/// kernels/sampling.h.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> sample_tokens(
    const at::Tensor& logits, const at::Tensor& uniforms, double temperature, std::int64_t top_k,
    double top_p, double min_p);

/// Counters [N] int64, each in [0, 2^32) -> float64 [N] in (0, 1); see kernels/common/philox.h.
at::Tensor philox_uniforms(std::uint64_t seed, const at::Tensor& prompt_uids,
                           const at::Tensor& samples, const at::Tensor& positions);
}  // namespace r1

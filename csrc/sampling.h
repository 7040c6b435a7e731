#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>

namespace r1 {

namespace kernels {
struct SamplingFilter;
}

/// tokens [N] int64, and float32 [N] each: log-probabilities, truncated log-probabilities,
/// entropies; see kernels/sampling.h.
using SampledTokens = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

/// logits [N, V] float32 or bfloat16, uniforms [N] float64 in (0, 1), on the same device. On a GPU
/// nothing waits for it: a uniform out of range is no error there, and counts as the nearest one
/// within.
///
/// @param stream  the GPU's, as a whole number
SampledTokens sample_tokens(const at::Tensor& logits, const at::Tensor& uniforms,
                            double temperature, std::int64_t top_k, double top_p, double min_p,
                            std::int64_t stream);

/// Counters [N] int64, each in [0, 2^32), all on one device -> float64 [N] in (0, 1); see
/// kernels/common/philox.h. On a GPU a counter out of range is no error, and is cut to 32 bits.
at::Tensor philox_uniforms(std::uint64_t seed, const at::Tensor& prompt_uids,
                           const at::Tensor& samples, const at::Tensor& positions,
                           std::int64_t stream);

/// The same on a GPU, of contiguous tensors into what the caller has made room for.
void sample_tokens_cuda(const at::Tensor& logits, const at::Tensor& uniforms,
                        const kernels::SamplingFilter& filter, const SampledTokens& results,
                        std::int64_t stream);
void philox_uniforms_cuda(std::uint64_t seed, const at::Tensor& prompt_uids,
                          const at::Tensor& samples, const at::Tensor& positions,
                          const at::Tensor& uniforms, std::int64_t stream);

}  // namespace r1

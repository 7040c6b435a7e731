#include <c10/core/DeviceGuard.h>

#include "csrc/check.h"
#include "csrc/cuda_library.h"
#include "csrc/sampling.h"
#include "kernels/sampling.h"

namespace r1 {

using kernels::bf16;

void sample_tokens_cuda(const at::Tensor& logits, const at::Tensor& uniforms,
                        const kernels::SamplingFilter& filter, const SampledTokens& results,
                        std::int64_t stream) {
  const std::int64_t N = logits.size(0), V = logits.size(1);
  if (V > kernels::kSampleMostVocab)
    reject("sample_tokens", "logits must have V <= ", kernels::kSampleMostVocab, " on a GPU; got ",
           V);
  const c10::DeviceGuard guard(logits.device());
  const auto& [tokens, logprobs, truncated_logprobs, entropies] = results;
  const double* const draws = uniforms.const_data_ptr<double>();
  auto* const ids = tokens.mutable_data_ptr<std::int64_t>();
  auto* const full = logprobs.mutable_data_ptr<float>();
  auto* const truncated = truncated_logprobs.mutable_data_ptr<float>();
  auto* const nats = entropies.mutable_data_ptr<float>();
  if (logits.scalar_type() == at::kBFloat16)
    R1_CUDA(sample_bf16_cuda, static_cast<const bf16*>(logits.const_data_ptr()), N, V, filter,
            draws, ids, full, truncated, nats, stream_of(stream));
  else
    R1_CUDA(sample_cuda, logits.const_data_ptr<float>(), N, V, filter, draws, ids, full, truncated,
            nats, stream_of(stream));
}

void philox_uniforms_cuda(std::uint64_t seed, const at::Tensor& prompt_uids,
                          const at::Tensor& samples, const at::Tensor& positions,
                          const at::Tensor& uniforms, std::int64_t stream) {
  const c10::DeviceGuard guard(uniforms.device());
  R1_CUDA(philox_uniforms_cuda, seed, prompt_uids.const_data_ptr<std::int64_t>(),
          samples.const_data_ptr<std::int64_t>(), positions.const_data_ptr<std::int64_t>(),
          uniforms.size(0), uniforms.mutable_data_ptr<double>(), stream_of(stream));
}

}  // namespace r1

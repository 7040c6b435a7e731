#include "csrc/sampling.h"

#include <ATen/ops/empty.h>

#include "csrc/check.h"
#include "kernels/common/philox.h"
#include "kernels/sampling.h"

namespace r1 {

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> sample_tokens(
    const at::Tensor& logits, const at::Tensor& uniforms, double temperature, std::int64_t top_k,
    double top_p, double min_p) {
  R1_REQUIRE(logits.dim() == 2 && logits.size(1) > 0 && logits.scalar_type() == at::kFloat,
             "logits must be [N, V >= 1] float32; got ", logits.sizes(), " ", logits.scalar_type());
  R1_REQUIRE(uniforms.dim() == 1 && uniforms.size(0) == logits.size(0) &&
                 uniforms.scalar_type() == at::kDouble,
             "uniforms must be [N = ", logits.size(0), "] float64; got ", uniforms.sizes(), " ",
             uniforms.scalar_type());
  R1_REQUIRE(temperature > 0, "temperature must be > 0; got ", temperature);
  R1_REQUIRE(top_k >= 0, "top_k must be >= 0; got ", top_k);
  R1_REQUIRE(top_p > 0 && top_p <= 1, "top_p must be in (0, 1]; got ", top_p);
  R1_REQUIRE(min_p >= 0 && min_p < 1, "min_p must be in [0, 1); got ", min_p);
  const at::Tensor rows = logits.contiguous(), draws = uniforms.contiguous();
  const std::int64_t N = rows.size(0), V = rows.size(1);
  at::Tensor tokens = at::empty({N}, rows.options().dtype(at::kLong));
  at::Tensor logprobs = at::empty({N}, rows.options());
  at::Tensor truncated_logprobs = at::empty({N}, rows.options());
  at::Tensor entropies = at::empty({N}, rows.options());
  at::Tensor workspace = at::empty({kernels::sample_workspace(V)}, rows.options());
  const kernels::SamplingFilter filter{static_cast<float>(temperature), top_k,
                                       static_cast<float>(top_p), static_cast<float>(min_p)};
  R1_CPU(sample_cpu)
  (rows.const_data_ptr<float>(), N, V, filter, draws.const_data_ptr<double>(),
   workspace.mutable_data_ptr<float>(), tokens.mutable_data_ptr<std::int64_t>(),
   logprobs.mutable_data_ptr<float>(), truncated_logprobs.mutable_data_ptr<float>(),
   entropies.mutable_data_ptr<float>());
  return {tokens, logprobs, truncated_logprobs, entropies};
}

at::Tensor philox_uniforms(std::uint64_t seed, const at::Tensor& prompt_uids,
                           const at::Tensor& samples, const at::Tensor& positions) {
  for (const at::Tensor& counters : {prompt_uids, samples, positions}) {
    R1_REQUIRE(counters.dim() == 1 && counters.size(0) == prompt_uids.size(0) &&
                   counters.scalar_type() == at::kLong,
               "counters must be [N] int64, all of one length; got ", counters.sizes(), " ",
               counters.scalar_type());
  }
  const at::Tensor uid = prompt_uids.contiguous(), sample = samples.contiguous(),
                   position = positions.contiguous();
  at::Tensor uniforms = at::empty({uid.size(0)}, uid.options().dtype(at::kDouble));
  for (std::int64_t n = 0; n < uid.size(0); ++n) {
    uniforms.mutable_data_ptr<double>()[n] = kernels::philox_uniform(
        seed, static_cast<std::uint32_t>(position.const_data_ptr<std::int64_t>()[n]),
        static_cast<std::uint32_t>(sample.const_data_ptr<std::int64_t>()[n]),
        static_cast<std::uint32_t>(uid.const_data_ptr<std::int64_t>()[n]),
        kernels::PhiloxStream::kSampling);
  }
  return uniforms;
}

}  // namespace r1

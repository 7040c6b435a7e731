#include "csrc/sampling.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <memory>

#include "csrc/parallel.h"
#include "csrc/tensor_check.h"
#include "kernels/common/philox.h"
#include "kernels/sampling.h"

namespace r1 {

namespace {

constexpr std::int64_t kCounterEnd = std::int64_t{1} << 32;

void check_uniforms(const at::Tensor& uniforms) {
  const double* uniform = uniforms.const_data_ptr<double>();
  for (std::int64_t n = 0; n < uniforms.size(0); ++n)
    if (!(uniform[n] > 0 && uniform[n] < 1))
      reject("sample_tokens", "uniforms must be in (0, 1); got ", uniform[n]);
}

at::Tensor checked_counters(const char* name, const at::Tensor& counters, std::int64_t N,
                            const at::Device& device) {
  constexpr const char* function = "philox_uniforms";
  if (counters.dim() != 1 || counters.size(0) != N || counters.scalar_type() != at::kLong)
    reject(function, name, " must be [N = ", N, "] int64; got ", counters.sizes(), " ",
           dtype_name(counters));
  if (counters.device() != device)
    reject(function, name, " must be on ", device, " as prompt_uids are; got ", counters.device());
  const at::Tensor values = counters.contiguous();
  if (values.is_cuda()) return values;  // their values are the kernel's to cut: nobody waits
  const std::int64_t* value = values.const_data_ptr<std::int64_t>();
  for (std::int64_t n = 0; n < N; ++n)
    if (value[n] < 0 || value[n] >= kCounterEnd)
      reject(function, name, " must be in [0, 2^32); got ", value[n]);
  return values;
}

}  // namespace

SampledTokens sample_tokens(const at::Tensor& logits, const at::Tensor& uniforms,
                            double temperature, std::int64_t top_k, double top_p, double min_p,
                            std::int64_t stream) {
  check_reachable(__func__, "logits", logits);
  R1_REQUIRE(logits.dim() == 2 && logits.size(1) > 0 &&
                 (logits.scalar_type() == at::kFloat || logits.scalar_type() == at::kBFloat16),
             "logits must be [N, V >= 1] float32 or bfloat16; got ", logits.sizes(), " ",
             dtype_name(logits));
  R1_REQUIRE(uniforms.dim() == 1 && uniforms.size(0) == logits.size(0) &&
                 uniforms.scalar_type() == at::kDouble,
             "uniforms must be [N = ", logits.size(0), "] float64; got ", uniforms.sizes(), " ",
             dtype_name(uniforms));
  R1_REQUIRE(uniforms.device() == logits.device(), "uniforms must be on ", logits.device(),
             " as the logits are; got ", uniforms.device());
  R1_REQUIRE(temperature > 0 && std::isfinite(temperature),
             "temperature must be finite and > 0; got ", temperature);
  R1_REQUIRE(top_k >= 0, "top_k must be >= 0; got ", top_k);
  R1_REQUIRE(top_p > 0 && top_p <= 1, "top_p must be in (0, 1]; got ", top_p);
  R1_REQUIRE(min_p >= 0 && min_p < 1, "min_p must be in [0, 1); got ", min_p);
  const at::Tensor rows = logits.contiguous(), draws = uniforms.contiguous();
  if (!draws.is_cuda()) check_uniforms(draws);
  const std::int64_t N = rows.size(0), V = rows.size(1);
  at::Tensor tokens = at::empty({N}, rows.options().dtype(at::kLong));
  const auto floats = [&] { return at::empty({N}, rows.options().dtype(at::kFloat)); };
  at::Tensor logprobs = floats(), truncated_logprobs = floats(), entropies = floats();
  const kernels::SamplingFilter filter{static_cast<float>(temperature), top_k, top_p,
                                       static_cast<float>(min_p)};
  const SampledTokens results{tokens, logprobs, truncated_logprobs, entropies};
  if (rows.is_cuda()) {
    sample_tokens_cuda(rows, draws, filter, results, stream);
    return results;
  }
  parallel_rows(N, V, [&](std::int64_t begin, std::int64_t end) {
    const auto workspace = std::make_unique_for_overwrite<float[]>(
        static_cast<std::size_t>(kernels::sample_workspace(V)));
    const auto run = [&](auto& kernel, const auto* first) {
      kernel(first + begin * V, end - begin, V, filter, draws.const_data_ptr<double>() + begin,
             workspace.get(), tokens.mutable_data_ptr<std::int64_t>() + begin,
             logprobs.mutable_data_ptr<float>() + begin,
             truncated_logprobs.mutable_data_ptr<float>() + begin,
             entropies.mutable_data_ptr<float>() + begin);
    };
    if (rows.scalar_type() == at::kFloat)
      run(R1_CPU(sample_cpu), rows.const_data_ptr<float>());
    else
      run(R1_CPU(sample_bf16_cpu), static_cast<const kernels::bf16*>(rows.const_data_ptr()));
  });
  return results;
}

at::Tensor philox_uniforms(std::uint64_t seed, const at::Tensor& prompt_uids,
                           const at::Tensor& samples, const at::Tensor& positions,
                           std::int64_t stream) {
  check_reachable(__func__, "prompt_uids", prompt_uids);
  R1_REQUIRE(prompt_uids.dim() == 1, "prompt_uids must be [N] int64; got ", prompt_uids.sizes());
  const std::int64_t N = prompt_uids.size(0);
  const at::Device device = prompt_uids.device();
  const at::Tensor uids = checked_counters("prompt_uids", prompt_uids, N, device);
  const at::Tensor sample_ids = checked_counters("samples", samples, N, device);
  const at::Tensor places = checked_counters("positions", positions, N, device);
  at::Tensor uniforms = at::empty({N}, uids.options().dtype(at::kDouble));
  if (uids.is_cuda()) {
    philox_uniforms_cuda(seed, uids, sample_ids, places, uniforms, stream);
    return uniforms;
  }
  const std::int64_t* uid = uids.const_data_ptr<std::int64_t>();
  const std::int64_t* sample = sample_ids.const_data_ptr<std::int64_t>();
  const std::int64_t* position = places.const_data_ptr<std::int64_t>();
  double* uniform = uniforms.mutable_data_ptr<double>();
  for (std::int64_t n = 0; n < N; ++n)
    uniform[n] = kernels::philox_uniform(
        seed, static_cast<std::uint32_t>(position[n]), static_cast<std::uint32_t>(sample[n]),
        static_cast<std::uint32_t>(uid[n]), kernels::PhiloxStream::kSampling);
  return uniforms;
}

}  // namespace r1

#include "csrc/logprob.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>

#include "csrc/check.h"
#include "csrc/parallel.h"
#include "kernels/logprob.h"

namespace r1 {
namespace {

void check(const at::Tensor& logits, const at::Tensor& tokens, double temperature) {
  constexpr const char* function = "token_logprobs";
  if (logits.dim() != 2 || logits.size(1) == 0)
    reject(function, "logits must be [M, V >= 1]; got ", logits.sizes());
  if (!logits.is_floating_point())
    reject(function, "logits must be float32, bfloat16 or float64; got ", logits.scalar_type());
  if (tokens.dim() != 1 || tokens.size(0) != logits.size(0))
    reject(function, "tokens must be [M = ", logits.size(0), "]; got ", tokens.sizes());
  if (tokens.scalar_type() != at::kLong)
    reject(function, "tokens must be int64; got ", tokens.scalar_type());
  if (!(temperature > 0 && std::isfinite(temperature)))
    reject(function, "temperature must be finite and > 0; got ", temperature);
  const at::Tensor ids = tokens.contiguous();
  for (std::int64_t i = 0; i < ids.numel(); ++i) {
    const std::int64_t id = ids.const_data_ptr<std::int64_t>()[i];
    if (id < 0 || id >= logits.size(1))
      reject(function, "tokens must be in [0, ", logits.size(1), "); got ", id);
  }
}

/// The kernels read float32 and float64; other dtypes are widened.
at::Tensor readable(const at::Tensor& logits) {
  return (logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat)).contiguous();
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> token_logprobs(const at::Tensor& logits,
                                                  const at::Tensor& tokens, double temperature) {
  check(logits, tokens, temperature);
  const at::Tensor rows = readable(logits), ids = tokens.contiguous();
  const std::int64_t M = rows.size(0), V = rows.size(1);
  at::Tensor logprobs = at::empty({M}, rows.options());
  at::Tensor entropies = at::empty_like(logprobs);
  const std::int64_t* id = ids.const_data_ptr<std::int64_t>();
  parallel_rows(M, V, [&](std::int64_t m, std::int64_t end) {
    if (rows.scalar_type() == at::kDouble) {
      R1_CPU(token_logprobs_f64_cpu)
      (rows.const_data_ptr<double>() + m * V, id + m, end - m, V, temperature,
       logprobs.mutable_data_ptr<double>() + m, entropies.mutable_data_ptr<double>() + m);
    } else {
      R1_CPU(token_logprobs_cpu)
      (rows.const_data_ptr<float>() + m * V, id + m, end - m, V, static_cast<float>(temperature),
       logprobs.mutable_data_ptr<float>() + m, entropies.mutable_data_ptr<float>() + m);
    }
  });
  return {logprobs, entropies};
}

at::Tensor token_logprobs_backward(const at::Tensor& logits, const at::Tensor& tokens,
                                   const at::Tensor& grad_logprobs,
                                   const at::Tensor& grad_entropies, double temperature) {
  check(logits, tokens, temperature);
  const at::Tensor rows = readable(logits), ids = tokens.contiguous();
  const at::Tensor dlogprobs = grad_logprobs.contiguous(), dentropies = grad_entropies.contiguous();
  const std::int64_t M = rows.size(0), V = rows.size(1);
  at::Tensor grad = at::empty_like(rows);
  const std::int64_t* id = ids.const_data_ptr<std::int64_t>();
  parallel_rows(M, V, [&](std::int64_t m, std::int64_t end) {
    if (rows.scalar_type() == at::kDouble) {
      R1_CPU(token_logprobs_backward_f64_cpu)
      (rows.const_data_ptr<double>() + m * V, id + m, dlogprobs.const_data_ptr<double>() + m,
       dentropies.const_data_ptr<double>() + m, end - m, V, temperature,
       grad.mutable_data_ptr<double>() + m * V);
    } else {
      R1_CPU(token_logprobs_backward_cpu)
      (rows.const_data_ptr<float>() + m * V, id + m, dlogprobs.const_data_ptr<float>() + m,
       dentropies.const_data_ptr<float>() + m, end - m, V, static_cast<float>(temperature),
       grad.mutable_data_ptr<float>() + m * V);
    }
  });
  return grad.to(logits.scalar_type());
}

}  // namespace r1

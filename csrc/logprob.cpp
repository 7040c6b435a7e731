#include "csrc/logprob.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>

#include "csrc/parallel.h"
#include "csrc/tensor_check.h"
#include "kernels/logprob.h"

namespace r1 {
namespace {

using kernels::bf16;
using kernels::SoftmaxStatistics;

SoftmaxStatistics* statistics_of(const TokenScores& scores, std::int64_t row) {
  return static_cast<SoftmaxStatistics*>(scores.statistics.mutable_data_ptr()) + row;
}

/// The kernel's arguments from row `begin` on; Element is the logits', Result the scores' type.
template <class Element, class Result, class Kernel, class... Rest>
void forward(Kernel kernel, const at::Tensor& logits, const at::Tensor& tokens, double temperature,
             std::int64_t begin, std::int64_t end, const TokenScores& scores, Rest... rest) {
  const std::int64_t V = logits.size(1);
  kernel(static_cast<const Element*>(logits.const_data_ptr()) + begin * V,
         tokens.const_data_ptr<std::int64_t>() + begin, end - begin, V,
         static_cast<Result>(temperature), scores.logprobs.mutable_data_ptr<Result>() + begin,
         scores.entropies.mutable_data_ptr<Result>() + begin, statistics_of(scores, begin),
         rest...);
}

template <class Element, class Result, class Kernel>
void backward(Kernel kernel, const at::Tensor& logits, const at::Tensor& tokens,
              const at::Tensor& statistics, const at::Tensor& grad_logprobs,
              const at::Tensor& grad_entropies, double temperature, std::int64_t begin,
              std::int64_t end, const at::Tensor& grad_logits) {
  const std::int64_t V = logits.size(1);
  kernel(static_cast<const Element*>(logits.const_data_ptr()) + begin * V,
         tokens.const_data_ptr<std::int64_t>() + begin,
         static_cast<const SoftmaxStatistics*>(statistics.const_data_ptr()) + begin,
         grad_logprobs.const_data_ptr<Result>() + begin,
         grad_entropies.const_data_ptr<Result>() + begin, end - begin, V,
         static_cast<Result>(temperature),
         static_cast<Element*>(grad_logits.mutable_data_ptr()) + begin * V);
}

}  // namespace

void check_tokens(const char* function, const at::Tensor& tokens, std::int64_t M, std::int64_t V,
                  double temperature) {
  check_reachable(function, "tokens", tokens);
  if (tokens.dim() != 1 || tokens.size(0) != M)
    reject(function, "tokens must be [M = ", M, "]; got ", tokens.sizes());
  if (tokens.scalar_type() != at::kLong)
    reject(function, "tokens must be int64; got ", dtype_name(tokens));
  if (!(temperature > 0 && std::isfinite(temperature)))
    reject(function, "temperature must be finite and > 0; got ", temperature);
  if (tokens.is_cuda()) return;  // their values are the kernel's to check: nobody waits for them
  const at::Tensor ids = tokens.contiguous();
  for (std::int64_t i = 0; i < M; ++i) {
    const std::int64_t id = ids.const_data_ptr<std::int64_t>()[i];
    if (id < 0 || id >= V) reject(function, "tokens must be in [0, ", V, "); got ", id);
  }
}

void check_token_logits(const char* function, const at::Tensor& logits, const at::Tensor& tokens,
                        double temperature) {
  if (logits.dim() != 2 || logits.size(1) == 0)
    reject(function, "logits must be [M, V >= 1]; got ", logits.sizes());
  const at::ScalarType dtype = logits.scalar_type();
  if (dtype != at::kFloat && dtype != at::kBFloat16 && dtype != at::kDouble)
    reject(function, "logits must be float32, bfloat16 or float64; got ", dtype_name(dtype));
  if (dtype == at::kDouble && logits.is_cuda())
    reject(function, "logits must be float32 or bfloat16 on a GPU; got ", dtype_name(dtype));
  if (tokens.device() != logits.device())
    reject(function, "tokens must be on ", logits.device(), " as the logits are; got ",
           tokens.device());
  check_tokens(function, tokens, logits.size(0), logits.size(1), temperature);
}

TokenScores empty_scores(const at::Tensor& logits) {
  const std::int64_t M = logits.size(0);
  const bool wide = logits.scalar_type() == at::kDouble;
  const auto result = logits.options().dtype(wide ? at::kDouble : at::kFloat);
  return {at::empty({M}, result), at::empty({M}, result),
          at::empty({M, 3}, result.dtype(at::kDouble))};
}

void score_rows(const at::Tensor& logits, const at::Tensor& tokens, double temperature,
                std::int64_t begin, std::int64_t end, const TokenScores& scores, float* weights) {
  if (logits.scalar_type() == at::kDouble)
    forward<double, double>(R1_CPU(token_logprobs_f64_cpu), logits, tokens, temperature, begin, end,
                            scores);
  else if (logits.scalar_type() == at::kBFloat16)
    forward<bf16, float>(R1_CPU(token_logprobs_bf16_cpu), logits, tokens, temperature, begin, end,
                         scores, weights);
  else
    forward<float, float>(R1_CPU(token_logprobs_cpu), logits, tokens, temperature, begin, end,
                          scores, weights);
}

void weights_backward(const float* weights, const at::Tensor& tokens, const TokenScores& scores,
                      const at::Tensor& grad_logprobs, double temperature, std::int64_t row,
                      const at::Tensor& grad_logits) {
  const std::int64_t V = grad_logits.size(1);
  const auto run = [&](auto& kernel, auto* grad) {
    kernel(weights, tokens.const_data_ptr<std::int64_t>() + row, statistics_of(scores, row),
           grad_logprobs.const_data_ptr<float>() + row, 1, V, static_cast<float>(temperature),
           grad + row * V);
  };
  void* const grad = grad_logits.mutable_data_ptr();
  if (grad_logits.scalar_type() == at::kBFloat16)
    run(R1_CPU(logprob_gradient_bf16_cpu), static_cast<bf16*>(grad));
  else
    run(R1_CPU(logprob_gradient_cpu), static_cast<float*>(grad));
}

void score_rows_backward(const at::Tensor& logits, const at::Tensor& tokens,
                         const at::Tensor& statistics, const at::Tensor& grad_logprobs,
                         const at::Tensor& grad_entropies, double temperature, std::int64_t begin,
                         std::int64_t end, const at::Tensor& grad_logits) {
  if (logits.scalar_type() == at::kDouble)
    backward<double, double>(R1_CPU(token_logprobs_backward_f64_cpu), logits, tokens, statistics,
                             grad_logprobs, grad_entropies, temperature, begin, end, grad_logits);
  else if (logits.scalar_type() == at::kBFloat16)
    backward<bf16, float>(R1_CPU(token_logprobs_backward_bf16_cpu), logits, tokens, statistics,
                          grad_logprobs, grad_entropies, temperature, begin, end, grad_logits);
  else
    backward<float, float>(R1_CPU(token_logprobs_backward_cpu), logits, tokens, statistics,
                           grad_logprobs, grad_entropies, temperature, begin, end, grad_logits);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> token_logprobs(const at::Tensor& logits,
                                                              const at::Tensor& tokens,
                                                              double temperature,
                                                              std::int64_t stream) {
  check_token_logits("token_logprobs", logits, tokens, temperature);
  const at::Tensor rows = logits.contiguous(), ids = tokens.contiguous();
  const TokenScores scores = empty_scores(rows);
  if (rows.is_cuda()) {
    token_logprobs_cuda(rows, ids, temperature, scores, stream);
    return {scores.logprobs, scores.entropies, scores.statistics};
  }
  parallel_rows(rows.size(0), rows.size(1), [&](std::int64_t begin, std::int64_t end) {
    score_rows(rows, ids, temperature, begin, end, scores);
  });
  return {scores.logprobs, scores.entropies, scores.statistics};
}

at::Tensor token_logprobs_backward(const at::Tensor& logits, const at::Tensor& tokens,
                                   const at::Tensor& statistics, const at::Tensor& grad_logprobs,
                                   const at::Tensor& grad_entropies, double temperature,
                                   std::int64_t stream) {
  const at::Tensor rows = logits.contiguous(), ids = tokens.contiguous();
  const at::Tensor dlogprobs = grad_logprobs.contiguous(), dentropies = grad_entropies.contiguous();
  at::Tensor grad = at::empty_like(rows);
  if (rows.is_cuda()) {
    token_logprobs_backward_cuda(rows, ids, statistics, dlogprobs, dentropies, temperature, grad,
                                 stream);
    return grad;
  }
  parallel_rows(rows.size(0), rows.size(1), [&](std::int64_t begin, std::int64_t end) {
    score_rows_backward(rows, ids, statistics, dlogprobs, dentropies, temperature, begin, end,
                        grad);
  });
  return grad;
}

}  // namespace r1

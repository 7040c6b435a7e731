#pragma once
#include <ATen/core/Tensor.h>

#include <tuple>

namespace r1 {

/// What scoring M rows of logits gives.
struct TokenScores {
  at::Tensor logprobs;    // [M] float32; float64 for float64 logits
  at::Tensor entropies;   // the same
  at::Tensor statistics;  // [M, 3] float64, kernels::SoftmaxStatistics
};

/// Reject, in the name of `function`, what the kernels cannot read.
void check_tokens(const char* function, const at::Tensor& tokens, std::int64_t M, std::int64_t V,
                  double temperature);
void check_token_logits(const char* function, const at::Tensor& logits, const at::Tensor& tokens,
                        double temperature);

TokenScores empty_scores(const at::Tensor& logits);

/// Scores rows [begin, end) of contiguous logits; see kernels/logprob.h.
///
/// @param weights  for float32 and bfloat16 logits: [end - begin, V], where the exponentials are
///                 kept (float32 logits may be overwritten with them), or null
void score_rows(const at::Tensor& logits, const at::Tensor& tokens, double temperature,
                std::int64_t begin, std::int64_t end, const TokenScores& scores,
                float* weights = nullptr);

/// The gradient of the log-probability of one row, from its exponentials [V], into its row of
/// `grad_logits`, float32 or bfloat16; the same bits as score_rows_backward gives.
void weights_backward(const float* weights, const at::Tensor& tokens, const TokenScores& scores,
                      const at::Tensor& grad_logprobs, double temperature, std::int64_t row,
                      const at::Tensor& grad_logits);

/// The gradient of rows [begin, end), into `grad_logits`, which may be `logits`. The gradients of
/// logprobs and entropies, each [M], have their dtype.
void score_rows_backward(const at::Tensor& logits, const at::Tensor& tokens,
                         const at::Tensor& statistics, const at::Tensor& grad_logprobs,
                         const at::Tensor& grad_entropies, double temperature, std::int64_t begin,
                         std::int64_t end, const at::Tensor& grad_logits);

/// logits [M, V] float32, bfloat16 or float64, tokens [M] int64 -> the three of TokenScores.
/// On a GPU float32 and bfloat16, on `stream`.
std::tuple<at::Tensor, at::Tensor, at::Tensor> token_logprobs(const at::Tensor& logits,
                                                              const at::Tensor& tokens,
                                                              double temperature,
                                                              std::int64_t stream);

/// The gradient with respect to the logits, [M, V] in their dtype.
at::Tensor token_logprobs_backward(const at::Tensor& logits, const at::Tensor& tokens,
                                   const at::Tensor& statistics, const at::Tensor& grad_logprobs,
                                   const at::Tensor& grad_entropies, double temperature,
                                   std::int64_t stream);

/// The same on a GPU, into what the caller has made room for.
void token_logprobs_cuda(const at::Tensor& logits, const at::Tensor& tokens, double temperature,
                         const TokenScores& scores, std::int64_t stream);
void token_logprobs_backward_cuda(const at::Tensor& logits, const at::Tensor& tokens,
                                  const at::Tensor& statistics, const at::Tensor& grad_logprobs,
                                  const at::Tensor& grad_entropies, double temperature,
                                  const at::Tensor& grad_logits, std::int64_t stream);
}  // namespace r1

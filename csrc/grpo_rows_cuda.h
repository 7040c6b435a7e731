#pragma once
#include <ATen/core/Tensor.h>

#include "csrc/grpo_loss.h"
#include "csrc/logprob.h"

namespace r1 {

/// `GrpoRows` on a GPU: the same steps for chunks of rows of logits, asynchronous on one stream.
///
///     token:     overwrite(chunk) for all; sums()
///     sequence:  score(chunk) for all; sums(); differentiate(chunk) for all
class CudaGrpoRows {
 public:
  /// Unless `keeps_logprobs`, a ratio per token leaves `logprobs()` undefined.
  CudaGrpoRows(const at::Tensor& ids, const GrpoTokens& tokens,
               const kernels::GrpoLossOptions& options, double temperature, double entropy_weight,
               std::int64_t stream, bool keeps_logprobs = false);

  /// `logits` is a contiguous chunk, [rows, V] float32 or bfloat16, for the tokens from `first` on.
  void score(const at::Tensor& logits, std::int64_t first);
  /// @param gradient  [rows, V]; the logits themselves, or bfloat16 for float32 logits; undefined:
  ///                  the rows are only scored
  void overwrite(const at::Tensor& logits, const at::Tensor& gradient, std::int64_t first);
  void differentiate(const at::Tensor& logits, std::int64_t first);

  /// Sums over all tokens, in their order, once all are scored; see sums_tensor.
  at::Tensor sums();
  /// [M] float32, once scored; with a ratio per token 0 where one does not count.
  const at::Tensor& logprobs() const { return scores_.logprobs; }

 private:
  at::Tensor ids_;
  const GrpoTokens& tokens_;
  kernels::GrpoLossOptions options_;
  double temperature_, entropy_weight_;
  std::int64_t stream_;
  at::Tensor workspace_;  // [M, kLossSums] float64, of each row
  TokenScores scores_;    // with a ratio per sequence; per token the log-probabilities at most
  at::Tensor grad_logprobs_, grad_entropies_;  // likewise, [M] float32
};

}  // namespace r1

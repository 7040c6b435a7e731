#pragma once
#include <ATen/core/Tensor.h>

#include "csrc/grpo_loss.h"
#include "csrc/logprob.h"

namespace r1 {

/// One loss over M rows of logits, which may come in chunks: the tokens' log-probabilities and
/// entropies, then the gradient in place of the logits. Rows that do not count are not read.
///
/// With a ratio per token a row needs nothing of the others, so it is scored and differentiated
/// while it is in cache. With a ratio per sequence all rows are scored first:
///
///     token:     overwrite(chunk) for all; sums()
///     sequence:  score(chunk) for all; sums(); differentiate(chunk) for all
class GrpoRows {
 public:
  /// @param ids             [M] int64, the tokens
  /// @param entropy_weight  the loss has -entropy_weight times the sum of the counted entropies
  GrpoRows(const at::Tensor& ids, const GrpoTokens& tokens, const kernels::GrpoLossOptions& options,
           double temperature, double entropy_weight);

  /// `logits` is a contiguous chunk, [rows, V] float32 or bfloat16, for the tokens from
  /// `first` on.
  void score(const at::Tensor& logits, std::int64_t first);
  void overwrite(const at::Tensor& logits, std::int64_t first);
  void differentiate(const at::Tensor& logits, std::int64_t first);

  /// Sums over all tokens, in their order, once all are scored; see sums_tensor.
  at::Tensor sums();
  /// [M] float32, once scored; 0 where a token does not count.
  const at::Tensor& logprobs() const { return scores_.logprobs; }

 private:
  struct Chunk;
  Chunk chunk_of(const at::Tensor& logits, std::int64_t first) const;
  /// Calls body(row) for the chunk's rows, in parallel.
  template <class Body>
  static void for_rows(const Chunk& chunk, const Body& body);
  void score_row(const Chunk& chunk, std::int64_t row) const;
  void overwrite_row(const Chunk& chunk, std::int64_t row, float* scratch) const;
  void differentiate_row(const Chunk& chunk, std::int64_t row) const;

  at::Tensor ids_;
  const GrpoTokens& tokens_;
  kernels::GrpoLossOptions options_;
  double temperature_;
  bool has_entropy_;  // in the gradient
  TokenScores scores_;
  at::Tensor grad_logprobs_, grad_entropies_;  // [M] float32
};

}  // namespace r1

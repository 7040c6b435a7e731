#include "csrc/grpo_rows.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include <memory>

#include "csrc/parallel.h"

namespace r1 {

GrpoRows::GrpoRows(const at::Tensor& ids, const GrpoTokens& tokens,
                   const kernels::GrpoLossOptions& options, double temperature,
                   double entropy_weight)
    : ids_(ids.contiguous()),
      tokens_(tokens),
      options_(options),
      temperature_(temperature),
      has_entropy_(entropy_weight != 0) {
  const at::Tensor narrow = at::empty({tokens.size(), 0}, at::kFloat);
  scores_ = empty_scores(narrow);
  scores_.logprobs.zero_();
  scores_.entropies.zero_();
  grad_logprobs_ = at::zeros_like(scores_.logprobs);
  grad_entropies_ = at::zeros_like(scores_.entropies);
  for (std::int64_t m = 0; m < tokens.size(); ++m)
    if (tokens.counts(m))
      grad_entropies_.mutable_data_ptr<float>()[m] = static_cast<float>(-entropy_weight);
}

/// Some rows of logits and what belongs to their tokens.
struct GrpoRows::Chunk {
  at::Tensor logits, ids;
  std::int64_t first;
  TokenScores scores;
  at::Tensor grad_logprobs, grad_entropies;
};

GrpoRows::Chunk GrpoRows::chunk_of(const at::Tensor& logits, std::int64_t first) const {
  const auto part = [&](const at::Tensor& of_all) {
    return of_all.narrow(0, first, logits.size(0));
  };
  return {logits,
          part(ids_),
          first,
          {part(scores_.logprobs), part(scores_.entropies), part(scores_.statistics)},
          part(grad_logprobs_),
          part(grad_entropies_)};
}

template <class Body>
void GrpoRows::for_rows(const Chunk& chunk, const Body& body) {
  parallel_rows(chunk.logits.size(0), chunk.logits.size(1),
                [&](std::int64_t begin, std::int64_t end) {
                  for (std::int64_t row = begin; row < end; ++row) body(row);
                });
}

void GrpoRows::score_row(const Chunk& chunk, std::int64_t row) const {
  score_rows(chunk.logits, chunk.ids, temperature_, row, row + 1, chunk.scores);
}

/// Where both gradients are 0, as in the rows that do not count, the row is set to 0 unread.
void GrpoRows::differentiate_row(const Chunk& chunk, std::int64_t row) const {
  score_rows_backward(chunk.logits, chunk.ids, chunk.scores.statistics, chunk.grad_logprobs,
                      chunk.grad_entropies, temperature_, row, row + 1, chunk.logits);
}

void GrpoRows::score(const at::Tensor& logits, std::int64_t first) {
  const Chunk chunk = chunk_of(logits, first);
  for_rows(chunk, [&](std::int64_t row) {
    if (tokens_.counts(first + row)) score_row(chunk, row);
  });
}

/// Without an entropy bonus each exponential is computed once: kept, then scaled into the gradient.
void GrpoRows::overwrite_row(const Chunk& chunk, std::int64_t row, float* scratch) const {
  const bool counts = tokens_.counts(chunk.first + row);
  const bool narrow = chunk.logits.scalar_type() == at::kBFloat16;
  float* const weights =
      narrow ? scratch : chunk.logits.mutable_data_ptr<float>() + row * chunk.logits.size(1);
  const bool keep = counts && !has_entropy_;
  if (counts)
    score_rows(chunk.logits, chunk.ids, temperature_, row, row + 1, chunk.scores,
               keep ? weights : nullptr);
  if (counts) {
    const double logprob = static_cast<double>(chunk.scores.logprobs.const_data_ptr<float>()[row]);
    chunk.grad_logprobs.mutable_data_ptr<float>()[row] =
        static_cast<float>(tokens_.token_gradient(logprob, chunk.first + row, options_));
  }
  if (keep)
    weights_backward(weights, chunk.ids, chunk.scores, chunk.grad_logprobs, temperature_, row,
                     chunk.logits);
  else
    differentiate_row(chunk, row);
}

void GrpoRows::overwrite(const at::Tensor& logits, std::int64_t first) {
  const Chunk chunk = chunk_of(logits, first);
  const auto V = static_cast<std::size_t>(logits.size(1));
  const bool narrow = logits.scalar_type() == at::kBFloat16;
  parallel_rows(logits.size(0), logits.size(1), [&](std::int64_t begin, std::int64_t end) {
    const auto scratch = std::make_unique_for_overwrite<float[]>(narrow ? V : 0);
    for (std::int64_t row = begin; row < end; ++row) overwrite_row(chunk, row, scratch.get());
  });
}

void GrpoRows::differentiate(const at::Tensor& logits, std::int64_t first) {
  const Chunk chunk = chunk_of(logits, first);
  for_rows(chunk, [&](std::int64_t row) { differentiate_row(chunk, row); });
}

at::Tensor GrpoRows::sums() {
  const at::Tensor logprobs = scores_.logprobs.to(at::kDouble);
  at::Tensor gradient = at::empty_like(logprobs);
  const kernels::GrpoLossSums sums = tokens_.loss(logprobs.const_data_ptr<double>(), options_,
                                                  gradient.mutable_data_ptr<double>());
  grad_logprobs_.copy_(gradient);
  double entropy = 0;
  for (std::int64_t m = 0; m < tokens_.size(); ++m)
    if (tokens_.counts(m))
      entropy += static_cast<double>(scores_.entropies.const_data_ptr<float>()[m]);
  return sums_tensor(sums, entropy);
}

}  // namespace r1

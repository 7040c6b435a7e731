#include "csrc/training/head_loss.h"

#include <ATen/ops/zeros.h>

#include "csrc/check.h"
#include "csrc/training/head.h"
#include "csrc/training/head_gradient.h"
#include "kernels/logprob.h"

namespace r1::training {
namespace {

/// Scores rows of logits and turns them into their gradient.
class TokenGradients {
 public:
  TokenGradients(const at::Tensor& tokens, const GrpoTokens& loss,
                 const kernels::GrpoLossOptions& options, double temperature, double entropy_weight)
      : ids_(tokens.const_data_ptr<std::int64_t>()),
        loss_(loss),
        options_(options),
        temperature_(static_cast<float>(temperature)),
        grad_entropy_(static_cast<float>(-entropy_weight)),
        logprobs_(at::zeros({loss.size()}, at::kFloat)),
        entropies_(at::zeros({loss.size()}, at::kFloat)),
        logprob_(logprobs_.mutable_data_ptr<float>()),
        entropy_(entropies_.mutable_data_ptr<float>()) {}

  std::vector<std::int64_t> rows() const {
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < loss_.size(); ++i)
      if (loss_.counts(i)) rows.push_back(i);
    return rows;
  }

  /// Without an entropy bonus each exponential is computed once: kept, then scaled.
  void overwrite(std::int64_t i, float* row, std::int64_t vocab) const {
    kernels::SoftmaxStatistics softmax;
    const bool keep = grad_entropy_ == 0;
    R1_CPU(token_logprobs_cpu)
    (row, ids_ + i, 1, vocab, temperature_, logprob_ + i, entropy_ + i, &softmax,
     keep ? row : nullptr);
    const double exact = loss_.token_gradient(static_cast<double>(logprob_[i]), i, options_);
    const auto gradient = static_cast<float>(exact);
    if (keep) {
      R1_CPU(logprob_gradient_cpu)
      (row, ids_ + i, &softmax, &gradient, 1, vocab, temperature_, row);
    } else {
      R1_CPU(token_logprobs_backward_cpu)
      (row, ids_ + i, &softmax, &gradient, &grad_entropy_, 1, vocab, temperature_, row);
    }
  }

  /// Once every row is scored; in the order of the tokens.
  at::Tensor sums() const {
    const at::Tensor logprobs = logprobs_.to(at::kDouble);
    std::vector<double> unused(static_cast<std::size_t>(loss_.size()));
    double entropy = 0;
    for (std::int64_t i = 0; i < loss_.size(); ++i) entropy += static_cast<double>(entropy_[i]);
    return sums_tensor(loss_.loss(logprobs.const_data_ptr<double>(), options_, unused.data()),
                       entropy);
  }

  const at::Tensor& logprobs() const { return logprobs_; }

 private:
  const std::int64_t* const ids_;
  const GrpoTokens& loss_;
  const kernels::GrpoLossOptions options_;
  const float temperature_, grad_entropy_;
  const at::Tensor logprobs_, entropies_;  // 0 where a token does not count
  float *const logprob_, *const entropy_;
};

}  // namespace

HeadLoss head_loss(const engine::Linear& head, const at::Tensor& hidden, const at::Tensor& tokens,
                   const GrpoTokens& loss, const kernels::GrpoLossOptions& options,
                   double temperature, double entropy_weight, const std::vector<bool>& wanted,
                   int threads, const std::function<void()>& poll) {
  check_head(__func__, head, hidden, tokens, temperature, threads);
  R1_REQUIRE(loss.size() == hidden.size(0), "loss must be of ", hidden.size(0), " tokens; got ",
             loss.size());
  R1_REQUIRE(!options.sequence_ratio, "options must have a ratio per token; got one per sequence");
  const TokenGradients tokens_loss(tokens, loss, options, temperature, entropy_weight);
  HeadGradient gradient(head, hidden, tokens_loss.rows(), wanted, threads);
  const std::int64_t vocab = head.weight.size(0);
  std::vector<at::Tensor> gradients =
      gradient.run([&](std::int64_t i, float* row) { tokens_loss.overwrite(i, row, vocab); }, poll);
  return {tokens_loss.sums(), tokens_loss.logprobs(), std::move(gradients)};
}

}  // namespace r1::training

#include "kernels/grpo_loss.h"

#include "kernels/grpo_terms.h"

namespace r1::kernels::R1_ISA {
namespace {

/// The tokens of one sequence.
struct Span {
  std::int64_t begin, end;
};

struct MeanLogRatio {
  double mean;
  double tokens;  // counted
};

MeanLogRatio mean_log_ratio(const double* logprobs, const GrpoTokens& tokens, Span span) {
  double sum = 0, counted = 0;
  for (std::int64_t m = span.begin; m < span.end; ++m) {
    if (tokens.weights[m] == 0) continue;
    counted += 1;
    sum += log_ratio_of(logprobs[m], token_inputs(tokens, m));
  }
  return {counted > 0 ? sum / counted : 0, counted};
}

void add_tokens(const double* logprobs, const GrpoTokens& tokens, Span span,
                const GrpoLossOptions& options, GrpoLossSums& sums, double* grad_logprobs) {
  for (std::int64_t m = span.begin; m < span.end; ++m) {
    grad_logprobs[m] = 0;
    if (tokens.weights[m] == 0) continue;
    const TokenInputs token = token_inputs(tokens, m);
    const Term term =
        add_token(logprobs[m], log_ratio_of(logprobs[m], token), token, options, sums);
    grad_logprobs[m] = term.by_logprob + term.by_log_ratio;
  }
}

/// Every token's log-probability moves the one ratio of its sequence by 1 / tokens.
void add_sequence(const double* logprobs, const GrpoTokens& tokens, Span span,
                  const GrpoLossOptions& options, GrpoLossSums& sums, double* grad_logprobs) {
  const MeanLogRatio sequence = mean_log_ratio(logprobs, tokens, span);
  double by_log_ratio = 0;
  for (std::int64_t m = span.begin; m < span.end; ++m) {
    grad_logprobs[m] = 0;
    if (tokens.weights[m] == 0) continue;
    const Term term = add_token(logprobs[m], sequence.mean, token_inputs(tokens, m), options, sums);
    grad_logprobs[m] = term.by_logprob;
    by_log_ratio += term.by_log_ratio;
  }
  for (std::int64_t m = span.begin; m < span.end; ++m)
    if (tokens.weights[m] != 0) grad_logprobs[m] += by_log_ratio / sequence.tokens;
}

}  // namespace

GrpoLossSums grpo_loss_cpu(const double* logprobs, const GrpoTokens& tokens,
                           const std::int64_t* sequence_starts, std::int64_t sequences,
                           const GrpoLossOptions& options, double* grad_logprobs) noexcept {
  GrpoLossSums sums{};
  for (std::int64_t n = 0; n < sequences; ++n) {
    const Span span{sequence_starts[n], sequence_starts[n + 1]};
    if (options.sequence_ratio)
      add_sequence(logprobs, tokens, span, options, sums, grad_logprobs);
    else
      add_tokens(logprobs, tokens, span, options, sums, grad_logprobs);
  }
  return sums;
}

}  // namespace r1::kernels::R1_ISA

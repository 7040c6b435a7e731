#include "kernels/logprob.h"

#include "kernels/common/softmax.h"

namespace r1::kernels::R1_ISA {

void token_logprobs_cpu(const float* logits, const std::int64_t* tokens, std::int64_t rows,
                        std::int64_t vocab, float temperature, float* logprobs,
                        float* entropies) noexcept {
  const float scale = 1.f / temperature;
  for (std::int64_t n = 0; n < rows; ++n) {
    const float* row = logits + n * vocab;
    const SoftmaxRow softmax = softmax_row(row, vocab, scale, nullptr);
    logprobs[n] = logprob_of(softmax, row[tokens[n]], scale);
    entropies[n] = entropy_of(softmax);
  }
}

// d logprob / d z_j = [j = token] - p_j;  d entropy / d z_j = -p_j (log p_j + entropy).
void token_logprobs_backward_cpu(const float* logits, const std::int64_t* tokens,
                                 const float* grad_logprobs, const float* grad_entropies,
                                 std::int64_t rows, std::int64_t vocab, float temperature,
                                 float* grad_logits) noexcept {
  const float scale = 1.f / temperature;
  for (std::int64_t n = 0; n < rows; ++n) {
    const float* row = logits + n * vocab;
    float* grad = grad_logits + n * vocab;
    if (grad_logprobs[n] == 0 && grad_entropies[n] == 0) {  // a masked token
      for (std::int64_t j = 0; j < vocab; ++j) grad[j] = 0;
      continue;
    }
    const SoftmaxRow softmax = softmax_row(row, vocab, scale, nullptr);
    const float log_sum = static_cast<float>(::log(softmax.sum));
    const float inverse_sum = static_cast<float>(1 / softmax.sum);
    const float entropy = entropy_of(softmax);
    const float grad_logprob = grad_logprobs[n] * scale, grad_entropy = grad_entropies[n] * scale;
    for (std::int64_t j = 0; j < vocab; j += kLanes) {
      const std::int64_t left = vocab - j;
      const f32x16 logit = left >= kLanes ? load(row + j) : load_partial(row + j, left, 0.f);
      const f32x16 shifted = (logit - softmax.max) * scale;
      const f32x16 p = exp(shifted) * inverse_sum;
      const f32x16 surprise = select(p == f32x16{}, f32x16{}, shifted - log_sum + entropy);
      const f32x16 result = -p * (surprise * grad_entropy + grad_logprob);
      if (left >= kLanes) {
        store(grad + j, result);
      } else {
        store_partial(grad + j, result, left);
      }
    }
    grad[tokens[n]] += grad_logprob;
  }
}

namespace {

struct SoftmaxRowF64 {
  double log_sum;  // logsumexp
  double entropy;
};

SoftmaxRowF64 softmax_row_f64(const double* row, std::int64_t vocab, double temperature) {
  double max = row[0];
  for (std::int64_t j = 1; j < vocab; ++j) max = row[j] > max ? row[j] : max;
  double sum = 0, weighted = 0;
  for (std::int64_t j = 0; j < vocab; ++j) {
    const double shifted = (row[j] - max) / temperature;
    const double weight = ::exp(shifted);
    sum += weight;
    weighted += weight == 0 ? 0 : weight * shifted;
  }
  return {max / temperature + ::log(sum), ::log(sum) - weighted / sum};
}

}  // namespace

void token_logprobs_f64_cpu(const double* logits, const std::int64_t* tokens, std::int64_t rows,
                            std::int64_t vocab, double temperature, double* logprobs,
                            double* entropies) noexcept {
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* row = logits + n * vocab;
    const SoftmaxRowF64 softmax = softmax_row_f64(row, vocab, temperature);
    logprobs[n] = row[tokens[n]] / temperature - softmax.log_sum;
    entropies[n] = softmax.entropy;
  }
}

void token_logprobs_backward_f64_cpu(const double* logits, const std::int64_t* tokens,
                                     const double* grad_logprobs, const double* grad_entropies,
                                     std::int64_t rows, std::int64_t vocab, double temperature,
                                     double* grad_logits) noexcept {
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* row = logits + n * vocab;
    double* grad = grad_logits + n * vocab;
    const SoftmaxRowF64 softmax = softmax_row_f64(row, vocab, temperature);
    for (std::int64_t j = 0; j < vocab; ++j) {
      const double logprob = row[j] / temperature - softmax.log_sum;
      const double p = ::exp(logprob);
      const double surprise = p == 0 ? 0 : logprob + softmax.entropy;
      const double indicator = j == tokens[n] ? 1 : 0;
      grad[j] =
          (grad_logprobs[n] * (indicator - p) - grad_entropies[n] * p * surprise) / temperature;
    }
  }
}

}  // namespace r1::kernels::R1_ISA

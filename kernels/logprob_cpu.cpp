#include "kernels/logprob.h"

#include "kernels/common/softmax.h"

namespace r1::kernels::R1_ISA {
namespace {

template <class Element>
void forward(const Element* logits, const std::int64_t* tokens, std::int64_t rows,
             std::int64_t vocab, float temperature, float* logprobs, float* entropies,
             SoftmaxStatistics* statistics, float* weights) {
  const float scale = 1.f / temperature;
  for (std::int64_t n = 0; n < rows; ++n) {
    const Element* row = logits + n * vocab;
    const float logit = widen(row[tokens[n]]);  // `weights` may overwrite it
    const SoftmaxRow softmax =
        softmax_row(row, vocab, scale, nullptr, weights ? weights + n * vocab : nullptr);
    logprobs[n] = logprob_of(softmax, logit, scale);
    entropies[n] = entropy_of(softmax);
    if (statistics)
      statistics[n] = {static_cast<double>(softmax.max), softmax.sum,
                       static_cast<double>(entropies[n])};
  }
}

/// grad_j = function(logit_j), a register at a time.
template <class Element, class Function>
R1_INLINE void map_row(const Element* row, std::int64_t vocab, Element* grad, Function function) {
  std::int64_t j = 0;
  for (; j + kLanes <= vocab; j += kLanes) store(grad + j, function(load(row + j)));
  if (j < vocab)
    store_partial(grad + j, function(load_partial(row + j, vocab - j, 0.f)), vocab - j);
}

/// -p_j grad_logprob, and without the entropy's gradient one exponential is all there is.
template <class Element>
void logprob_gradient(const Element* row, std::int64_t vocab, const SoftmaxStatistics& softmax,
                      float scale, float grad_logprob, Element* grad) {
  const float max = static_cast<float>(softmax.max);
  const float factor = static_cast<float>(-static_cast<double>(grad_logprob) / softmax.sum);
  map_row(row, vocab, grad,
          [&](const f32x16& logit) { return weigh(logit, scale, max).weight * factor; });
}

/// -p_j (grad_logprob + grad_entropy (log p_j + entropy)).
template <class Element>
void logprob_and_entropy_gradient(const Element* row, std::int64_t vocab,
                                  const SoftmaxStatistics& softmax, float scale, float grad_logprob,
                                  float grad_entropy, Element* grad) {
  const float max = static_cast<float>(softmax.max);
  const float inverse_sum = static_cast<float>(1 / softmax.sum);
  const float log_sum = static_cast<float>(::log(softmax.sum));
  const float entropy = static_cast<float>(softmax.entropy);
  map_row(row, vocab, grad, [&](const f32x16& logit) {
    const Weighed weighed = weigh(logit, scale, max);
    const f32x16 p = weighed.weight * inverse_sum;
    return -p * ((weighed.z - log_sum + entropy) * grad_entropy + grad_logprob);
  });
}

template <class Element>
void backward(const Element* logits, const std::int64_t* tokens,
              const SoftmaxStatistics* statistics, const float* grad_logprobs,
              const float* grad_entropies, std::int64_t rows, std::int64_t vocab, float temperature,
              Element* grad_logits) {
  const float scale = 1.f / temperature;
  for (std::int64_t n = 0; n < rows; ++n) {
    const Element* row = logits + n * vocab;
    Element* grad = grad_logits + n * vocab;
    const float grad_logprob = grad_logprobs[n] * scale, grad_entropy = grad_entropies[n] * scale;
    if (grad_logprob == 0 && grad_entropy == 0) {  // a masked token
      __builtin_memset(grad, 0, static_cast<std::size_t>(vocab) * sizeof(Element));
      continue;
    }
    const auto gradient = [&](const auto* from, std::int64_t count, auto* to) {
      if (grad_entropy == 0)
        logprob_gradient(from, count, statistics[n], scale, grad_logprob, to);
      else
        logprob_and_entropy_gradient(from, count, statistics[n], scale, grad_logprob, grad_entropy,
                                     to);
    };
    [[maybe_unused]] const float token_logit = widen(row[tokens[n]]);  // `grad` may overwrite it
    gradient(row, vocab, grad);
    if constexpr (sizeof(Element) == sizeof(float)) {
      grad[tokens[n]] += grad_logprob;
    } else {  // the sum is rounded once
      float at_token;
      gradient(&token_logit, 1, &at_token);
      store_partial(grad + tokens[n], splat(at_token + grad_logprob), 1);
    }
  }
}

/// The gradient of the log-probability alone, from the exponentials of the forward pass.
template <class Element>
void backward_of_weights(const float* weights, const std::int64_t* tokens,
                         const SoftmaxStatistics* statistics, const float* grad_logprobs,
                         std::int64_t rows, std::int64_t vocab, float temperature,
                         Element* grad_logits) {
  const float scale = 1.f / temperature;
  for (std::int64_t n = 0; n < rows; ++n) {
    const float* row = weights + n * vocab;
    Element* grad = grad_logits + n * vocab;
    const float grad_logprob = grad_logprobs[n] * scale;
    if (grad_logprob == 0) {
      __builtin_memset(grad, 0, static_cast<std::size_t>(vocab) * sizeof(Element));
      continue;
    }
    const float factor = static_cast<float>(-static_cast<double>(grad_logprob) / statistics[n].sum);
    float at_token;
    store_partial(&at_token, splat(row[tokens[n]]) * factor, 1);
    std::int64_t j = 0;
    for (; j + kLanes <= vocab; j += kLanes) store(grad + j, load(row + j) * factor);
    if (j < vocab)
      store_partial(grad + j, load_partial(row + j, vocab - j, 0.f) * factor, vocab - j);
    store_partial(grad + tokens[n], splat(at_token + grad_logprob), 1);
  }
}

SoftmaxStatistics softmax_row_f64(const double* row, std::int64_t vocab, double temperature) {
  double max = row[0];
  for (std::int64_t j = 1; j < vocab; ++j) max = row[j] > max ? row[j] : max;
  double sum = 0, weighted = 0;
  for (std::int64_t j = 0; j < vocab; ++j) {
    const double shifted = (row[j] - max) / temperature;
    const double weight = ::exp(shifted);
    sum += weight;
    weighted += weight == 0 ? 0 : weight * shifted;
  }
  return {max, sum, ::log(sum) - weighted / sum};
}

}  // namespace

void token_logprobs_cpu(const float* logits, const std::int64_t* tokens, std::int64_t rows,
                        std::int64_t vocab, float temperature, float* logprobs, float* entropies,
                        SoftmaxStatistics* statistics, float* weights) noexcept {
  forward(logits, tokens, rows, vocab, temperature, logprobs, entropies, statistics, weights);
}

void token_logprobs_bf16_cpu(const bf16* logits, const std::int64_t* tokens, std::int64_t rows,
                             std::int64_t vocab, float temperature, float* logprobs,
                             float* entropies, SoftmaxStatistics* statistics,
                             float* weights) noexcept {
  forward(logits, tokens, rows, vocab, temperature, logprobs, entropies, statistics, weights);
}

void token_logprobs_backward_cpu(const float* logits, const std::int64_t* tokens,
                                 const SoftmaxStatistics* statistics, const float* grad_logprobs,
                                 const float* grad_entropies, std::int64_t rows, std::int64_t vocab,
                                 float temperature, float* grad_logits) noexcept {
  backward(logits, tokens, statistics, grad_logprobs, grad_entropies, rows, vocab, temperature,
           grad_logits);
}

void token_logprobs_backward_bf16_cpu(const bf16* logits, const std::int64_t* tokens,
                                      const SoftmaxStatistics* statistics,
                                      const float* grad_logprobs, const float* grad_entropies,
                                      std::int64_t rows, std::int64_t vocab, float temperature,
                                      bf16* grad_logits) noexcept {
  backward(logits, tokens, statistics, grad_logprobs, grad_entropies, rows, vocab, temperature,
           grad_logits);
}

void logprob_gradient_cpu(const float* weights, const std::int64_t* tokens,
                          const SoftmaxStatistics* statistics, const float* grad_logprobs,
                          std::int64_t rows, std::int64_t vocab, float temperature,
                          float* grad_logits) noexcept {
  backward_of_weights(weights, tokens, statistics, grad_logprobs, rows, vocab, temperature,
                      grad_logits);
}

void logprob_gradient_bf16_cpu(const float* weights, const std::int64_t* tokens,
                               const SoftmaxStatistics* statistics, const float* grad_logprobs,
                               std::int64_t rows, std::int64_t vocab, float temperature,
                               bf16* grad_logits) noexcept {
  backward_of_weights(weights, tokens, statistics, grad_logprobs, rows, vocab, temperature,
                      grad_logits);
}

void token_logprobs_f64_cpu(const double* logits, const std::int64_t* tokens, std::int64_t rows,
                            std::int64_t vocab, double temperature, double* logprobs,
                            double* entropies, SoftmaxStatistics* statistics) noexcept {
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* row = logits + n * vocab;
    const SoftmaxStatistics softmax = softmax_row_f64(row, vocab, temperature);
    logprobs[n] = (row[tokens[n]] - softmax.max) / temperature - ::log(softmax.sum);
    entropies[n] = softmax.entropy;
    if (statistics) statistics[n] = softmax;
  }
}

void token_logprobs_backward_f64_cpu(const double* logits, const std::int64_t* tokens,
                                     const SoftmaxStatistics* statistics,
                                     const double* grad_logprobs, const double* grad_entropies,
                                     std::int64_t rows, std::int64_t vocab, double temperature,
                                     double* grad_logits) noexcept {
  for (std::int64_t n = 0; n < rows; ++n) {
    const double* row = logits + n * vocab;
    double* grad = grad_logits + n * vocab;
    const SoftmaxStatistics& softmax = statistics[n];
    for (std::int64_t j = 0; j < vocab; ++j) {
      const double logprob = (row[j] - softmax.max) / temperature - ::log(softmax.sum);
      const double p = ::exp(logprob);
      const double surprise = p == 0 ? 0 : logprob + softmax.entropy;
      const double indicator = j == tokens[n] ? 1 : 0;
      grad[j] =
          (grad_logprobs[n] * (indicator - p) - grad_entropies[n] * p * surprise) / temperature;
    }
  }
}

}  // namespace r1::kernels::R1_ISA

#include "kernels/logprob.h"

#include <limits>

#include "tests/cuda/emulated.h"

namespace r1::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Case {
  std::int64_t rows, vocab;
  float spread;
};
// A lane, an odd row (not aligned), a slice, several, and the end of a vector.
const Case kCases[] = {{1, 1, 1},    {5, 7, 1},    {3, 1024, 4},
                       {2, 1037, 4}, {3, 4104, 8}, {17, 96, 20}};

std::vector<std::int64_t> some_tokens(std::int64_t rows, std::int64_t vocab) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t n = 0; n < rows; ++n) tokens.push_back((n * 7919 + vocab - 1) % vocab);
  return tokens;
}

/// Log-probabilities, then entropies, then the gradient, of both sides.
template <class Element>
struct Results {
  std::vector<float> scores;
  std::vector<SoftmaxStatistics> statistics;
  std::vector<Element> gradient;
};

struct Gradients {
  std::vector<float> logprobs, entropies;
  explicit Gradients(std::int64_t rows)
      : logprobs(random_floats(rows, 5)), entropies(random_floats(rows, 6)) {
    for (std::size_t n = 0; n < logprobs.size(); n += 3) entropies[n] = 0;
    for (std::size_t n = 2; n < logprobs.size(); n += 4) logprobs[n] = entropies[n] = 0;
  }
};

template <class Element, class Forward, class Backward>
Results<Element> on_gpu(Forward forward, Backward backward, const std::vector<Element>& logits,
                        std::int64_t rows, std::int64_t vocab, float temperature) {
  const auto count = static_cast<std::size_t>(rows);
  Results<Element> results;
  results.statistics.resize(count);
  const std::vector<std::int64_t> tokens = some_tokens(rows, vocab);
  const Gradients gradients(rows);
  results.scores = in_both_orders([&] {
    std::vector<float> scores(2 * count);
    std::vector<unsigned char> workspace(
        static_cast<std::size_t>(softmax_workspace_cuda(rows, vocab)));
    EXPECT_EQ(forward(logits.data(), tokens.data(), rows, vocab, temperature, scores.data(),
                      scores.data() + count, results.statistics.data(), workspace.data(), nullptr),
              0);
    return scores;
  });
  results.gradient = in_both_orders([&] {
    std::vector<Element> gradient = logits;  // in its place
    EXPECT_EQ(backward(gradient.data(), tokens.data(), results.statistics.data(),
                       gradients.logprobs.data(), gradients.entropies.data(), rows, vocab,
                       temperature, gradient.data(), nullptr),
              0);
    return gradient;
  });
  return results;
}

/// The same in double on the CPU.
Results<double> exact(const std::vector<float>& logits, std::int64_t rows, std::int64_t vocab,
                      double temperature) {
  const std::vector<double> wide(logits.begin(), logits.end());
  const std::vector<std::int64_t> tokens = some_tokens(rows, vocab);
  const auto count = static_cast<std::size_t>(rows);
  std::vector<double> scores(2 * count);
  Results<double> results;
  results.statistics.resize(count);
  R1_CPU(token_logprobs_f64_cpu)
  (wide.data(), tokens.data(), rows, vocab, temperature, scores.data(), scores.data() + count,
   results.statistics.data());
  const Gradients gradients(rows);
  const std::vector<double> dlogprobs(gradients.logprobs.begin(), gradients.logprobs.end());
  const std::vector<double> dentropies(gradients.entropies.begin(), gradients.entropies.end());
  results.gradient.resize(wide.size());
  R1_CPU(token_logprobs_backward_f64_cpu)
  (wide.data(), tokens.data(), results.statistics.data(), dlogprobs.data(), dentropies.data(), rows,
   vocab, temperature, results.gradient.data());
  results.scores.assign(scores.begin(), scores.end());
  return results;
}

TEST(CudaLogprob, FloatAgreesWithDouble) {
  for (const Case& it : kCases) {
    const std::vector<float> logits = random_floats(it.rows * it.vocab, 1, it.spread);
    const auto actual =
        on_gpu(token_logprobs_cuda, token_logprobs_backward_cuda, logits, it.rows, it.vocab, 0.7f);
    const auto expected = exact(logits, it.rows, it.vocab, static_cast<double>(0.7f));
    expect_near(actual.scores, expected.scores, 3e-6, 1e-6);
    expect_near(actual.gradient, expected.gradient, 2e-6, 1e-5);
  }
}

TEST(CudaLogprob, Bfloat16LogitsAreReadAsTheFloatsTheyAre) {
  for (const Case& it : kCases) {
    const std::vector<bf16> logits = to_bf16(random_floats(it.rows * it.vocab, 2, it.spread));
    const auto actual = on_gpu(token_logprobs_bf16_cuda, token_logprobs_backward_bf16_cuda, logits,
                               it.rows, it.vocab, 1.f);
    const auto wide = on_gpu(token_logprobs_cuda, token_logprobs_backward_cuda, to_floats(logits),
                             it.rows, it.vocab, 1.f);
    EXPECT_EQ(actual.scores, wide.scores);
    expect_near(to_floats(actual.gradient), wide.gradient, 1e-7, 1. / 256);  // rounded once
  }
}

TEST(CudaLogprob, DoesNotDependOnTheRowsBeside) {
  constexpr std::int64_t kRows = 9, kVocab = 2051;
  const std::vector<float> logits = random_floats(kRows * kVocab, 4, 5);
  const auto all =
      on_gpu(token_logprobs_cuda, token_logprobs_backward_cuda, logits, kRows, kVocab, 1.f);
  const auto first = on_gpu(token_logprobs_cuda, token_logprobs_backward_cuda,
                            std::vector<float>(logits.begin(), logits.begin() + kVocab),
                            std::int64_t{1}, kVocab, 1.f);
  EXPECT_EQ(all.scores[0], first.scores[0]);
  EXPECT_EQ(all.scores[kRows], first.scores[1]);
}

TEST(CudaLogprob, RowsWithoutADistributionGiveNan) {
  constexpr std::int64_t kVocab = 1500;
  std::vector<float> logits = random_floats(4 * kVocab, 1);
  for (std::int64_t i = 0; i < kVocab; ++i) logits[static_cast<std::size_t>(i)] = -kInf;
  logits[kVocab + 3] = std::nanf("");
  logits[2 * kVocab + 1400] = kInf;
  for (std::int64_t i = 0; i < 1024; ++i)  // a slice of them is no such row
    logits[static_cast<std::size_t>(3 * kVocab + i)] = -kInf;
  const auto actual =
      on_gpu(token_logprobs_cuda, token_logprobs_backward_cuda, logits, 4, kVocab, 1.f);
  for (int n = 0; n < 3; ++n) EXPECT_TRUE(std::isnan(actual.scores[static_cast<std::size_t>(n)]));
  EXPECT_TRUE(std::isfinite(actual.scores[3]));
  EXPECT_TRUE(std::isfinite(actual.scores[7]));
}

}  // namespace
}  // namespace r1::kernels

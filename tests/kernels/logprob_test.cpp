#include "kernels/logprob.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/common/philox.h"

namespace r1::kernels {
namespace {

constexpr std::int64_t kRows = 3, kVocab = 1037;  // more than a slice, not whole registers
const std::int64_t kTokens[kRows] = {0, 1036, 515};

std::vector<double> some_logits() {
  std::vector<double> logits(kRows * kVocab);
  for (std::size_t i = 0; i < logits.size(); ++i)
    logits[i] = static_cast<float>(6 * philox_uniform(2, i, 0, 0, PhiloxStream::kSampling));
  return logits;
}

class EveryLevel : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!force_isa(GetParam())) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam());
  }
  void TearDown() override { force_isa(best_isa()); }
};

TEST_P(EveryLevel, FloatAgreesWithDouble) {
  const std::vector<double> exact = some_logits();
  const std::vector<float> logits(exact.begin(), exact.end());
  float logprobs[kRows], entropies[kRows];
  double exact_logprobs[kRows], exact_entropies[kRows];
  R1_CPU(token_logprobs_cpu)(logits.data(), kTokens, kRows, kVocab, 0.7f, logprobs, entropies,
                             nullptr, nullptr);
  R1_CPU(token_logprobs_f64_cpu)
  (exact.data(), kTokens, kRows, kVocab, 0.7, exact_logprobs, exact_entropies, nullptr);
  for (int n = 0; n < kRows; ++n) {
    EXPECT_NEAR(logprobs[n], exact_logprobs[n], 3e-6);
    EXPECT_NEAR(entropies[n], exact_entropies[n], 3e-6);
  }
}

const float kGradLogprobs[] = {1, 0, -2}, kGradEntropies[] = {0.5, 0, 1};

std::vector<double> exact_gradient(const std::vector<double>& logits) {
  const double grad_logprobs[] = {1, 0, -2}, grad_entropies[] = {0.5, 0, 1};
  double logprobs[kRows], entropies[kRows];
  SoftmaxStatistics statistics[kRows];
  std::vector<double> gradient(logits.size());
  R1_CPU(token_logprobs_f64_cpu)
  (logits.data(), kTokens, kRows, kVocab, 0.7, logprobs, entropies, statistics);
  R1_CPU(token_logprobs_backward_f64_cpu)
  (logits.data(), kTokens, statistics, grad_logprobs, grad_entropies, kRows, kVocab, 0.7,
   gradient.data());
  return gradient;
}

TEST_P(EveryLevel, GradientMayOverwriteTheLogits) {
  const std::vector<double> exact = some_logits(), expected = exact_gradient(exact);
  std::vector<float> rows(exact.begin(), exact.end());
  float logprobs[kRows], entropies[kRows];
  SoftmaxStatistics statistics[kRows];
  R1_CPU(token_logprobs_cpu)
  (rows.data(), kTokens, kRows, kVocab, 0.7f, logprobs, entropies, statistics, nullptr);
  R1_CPU(token_logprobs_backward_cpu)
  (rows.data(), kTokens, statistics, kGradLogprobs, kGradEntropies, kRows, kVocab, 0.7f,
   rows.data());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_NEAR(rows[i], expected[i], 1e-6);
}

TEST_P(EveryLevel, Bf16AgreesWithDoubleOnItsOwnLogits) {
  std::vector<double> exact = some_logits();
  std::vector<bf16> rows(exact.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const float value = static_cast<float>(exact[i]);
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    rows[i].bits = static_cast<std::uint16_t>(bits >> 16);
    exact[i] = widen(rows[i]);
  }
  const std::vector<double> expected = exact_gradient(exact);
  float logprobs[kRows], entropies[kRows];
  double exact_logprobs[kRows], exact_entropies[kRows];
  SoftmaxStatistics statistics[kRows];
  R1_CPU(token_logprobs_f64_cpu)
  (exact.data(), kTokens, kRows, kVocab, 0.7, exact_logprobs, exact_entropies, nullptr);
  R1_CPU(token_logprobs_bf16_cpu)
  (rows.data(), kTokens, kRows, kVocab, 0.7f, logprobs, entropies, statistics, nullptr);
  R1_CPU(token_logprobs_backward_bf16_cpu)
  (rows.data(), kTokens, statistics, kGradLogprobs, kGradEntropies, kRows, kVocab, 0.7f,
   rows.data());
  for (int n = 0; n < kRows; ++n) {
    EXPECT_NEAR(logprobs[n], exact_logprobs[n], 3e-6);
    EXPECT_NEAR(entropies[n], exact_entropies[n], 3e-6);
  }
  for (std::size_t i = 0; i < rows.size(); ++i)  // half a unit of 8 bits, and float's own error
    EXPECT_NEAR(widen(rows[i]), expected[i], std::abs(expected[i]) / 256 + 1e-6);
}

TEST_P(EveryLevel, MinusInfinityHasNoProbabilityAndNoGradient) {
  const float logits[] = {0, -INFINITY, 0};
  const std::int64_t token = 0;
  const float one = 1;
  float logprob, entropy, grad[3];
  SoftmaxStatistics statistics;
  R1_CPU(token_logprobs_cpu)(logits, &token, 1, 3, 1.f, &logprob, &entropy, &statistics, nullptr);
  R1_CPU(token_logprobs_backward_cpu)
  (logits, &token, &statistics, &one, &one, 1, 3, 1.f, grad);
  EXPECT_NEAR(logprob, -std::log(2.), 1e-7);
  EXPECT_NEAR(entropy, std::log(2.), 1e-7);
  EXPECT_EQ(grad[1], 0);
}

INSTANTIATE_TEST_SUITE_P(Isa, EveryLevel, testing::Values(Isa::portable, Isa::avx2, Isa::avx512),
                         [](const auto& test) { return isa_name(test.param); });

}  // namespace
}  // namespace r1::kernels

#include "kernels/logprob.h"

#include <gtest/gtest.h>

#include <cmath>
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
  R1_CPU(token_logprobs_cpu)(logits.data(), kTokens, kRows, kVocab, 0.7f, logprobs, entropies);
  R1_CPU(token_logprobs_f64_cpu)
  (exact.data(), kTokens, kRows, kVocab, 0.7, exact_logprobs, exact_entropies);
  for (int n = 0; n < kRows; ++n) {
    EXPECT_NEAR(logprobs[n], exact_logprobs[n], 3e-6);
    EXPECT_NEAR(entropies[n], exact_entropies[n], 3e-6);
  }
}

TEST_P(EveryLevel, GradientMayOverwriteTheLogits) {
  const std::vector<double> exact = some_logits();
  std::vector<float> rows(exact.begin(), exact.end());
  const float grad_logprobs[] = {1, 0, -2}, grad_entropies[] = {0.5, 0, 1};
  const double exact_grad_logprobs[] = {1, 0, -2}, exact_grad_entropies[] = {0.5, 0, 1};
  std::vector<double> expected(exact.size());
  R1_CPU(token_logprobs_backward_cpu)
  (rows.data(), kTokens, grad_logprobs, grad_entropies, kRows, kVocab, 0.7f, rows.data());
  R1_CPU(token_logprobs_backward_f64_cpu)
  (exact.data(), kTokens, exact_grad_logprobs, exact_grad_entropies, kRows, kVocab, 0.7,
   expected.data());
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_NEAR(rows[i], expected[i], 1e-6);
}

TEST_P(EveryLevel, MinusInfinityHasNoProbabilityAndNoGradient) {
  const float logits[] = {0, -INFINITY, 0};
  const std::int64_t token = 0;
  const float one = 1;
  float logprob, entropy, grad[3];
  R1_CPU(token_logprobs_cpu)(logits, &token, 1, 3, 1.f, &logprob, &entropy);
  R1_CPU(token_logprobs_backward_cpu)(logits, &token, &one, &one, 1, 3, 1.f, grad);
  EXPECT_NEAR(logprob, -std::log(2.), 1e-7);
  EXPECT_NEAR(entropy, std::log(2.), 1e-7);
  EXPECT_EQ(grad[1], 0);
}

INSTANTIATE_TEST_SUITE_P(Isa, EveryLevel, testing::Values(Isa::portable, Isa::avx2, Isa::avx512),
                         [](const auto& test) { return isa_name(test.param); });

}  // namespace
}  // namespace r1::kernels

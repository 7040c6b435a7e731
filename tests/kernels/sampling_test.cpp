#include "kernels/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/common/philox.h"
#include "kernels/logprob.h"

namespace r1::kernels {
namespace {

std::vector<float> some_logits(std::int64_t count) {
  std::vector<float> logits(count);
  for (std::int64_t i = 0; i < count; ++i)
    logits[i] = static_cast<float>(4 * philox_uniform(1, i, 0, 0, PhiloxStream::kSampling));
  return logits;
}

struct Draw {
  std::int64_t token;
  float logprob, truncated_logprob, entropy;
  bool operator==(const Draw&) const = default;
};

Draw draw(const std::vector<float>& logits, SamplingFilter filter, double uniform) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  std::vector<float> workspace(sample_workspace(vocab));
  Draw result;
  R1_CPU(sample_cpu)
  (logits.data(), 1, vocab, filter, &uniform, workspace.data(), &result.token, &result.logprob,
   &result.truncated_logprob, &result.entropy);
  return result;
}

class EveryVocabulary : public testing::TestWithParam<int> {};

TEST_P(EveryVocabulary, DrawsByTheInverseCumulativeDistribution) {
  const std::vector<float> logits = some_logits(GetParam());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  double below = 0;
  for (std::size_t i = 0; i < logits.size(); i += 1 + logits.size() / 7) {
    below = 0;
    for (std::size_t j = 0; j < i; ++j) below += std::exp(static_cast<double>(logits[j])) / sum;
    const double p = std::exp(static_cast<double>(logits[i])) / sum;
    const Draw result = draw(logits, {1.f, 0, 1.f, 0.f}, below + p / 2);
    EXPECT_EQ(result.token, static_cast<std::int64_t>(i));
    EXPECT_NEAR(result.logprob, std::log(p), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, EveryVocabulary, testing::Values(1, 15, 16, 17, 1024, 1025, 4999));

TEST(Sampling, GivesTheScorersBits) {
  const std::vector<float> logits = some_logits(2999);
  const Draw result = draw(logits, {0.7f, 0, 1.f, 0.f}, 0.3);
  float logprob, entropy;
  R1_CPU(token_logprobs_cpu)
  (logits.data(), &result.token, 1, 2999, 0.7f, &logprob, &entropy, nullptr, nullptr);
  EXPECT_EQ(result.logprob, logprob);
  EXPECT_EQ(result.entropy, entropy);
}

TEST(Sampling, GivesTheSameBitsOnAvx2AndAvx512) {
  if (best_isa() != Isa::avx512) GTEST_SKIP() << "this CPU lacks avx512";
  const std::vector<float> logits = some_logits(5003);
  for (const SamplingFilter filter : {SamplingFilter{1.f, 0, 1.f, 0.f}, {0.6f, 50, 0.9f, 0.01f}}) {
    for (const double uniform : {1e-9, 0.2, 0.77, 1 - 1e-9}) {
      ASSERT_TRUE(force_isa(Isa::avx2));
      const Draw avx2 = draw(logits, filter, uniform);
      ASSERT_TRUE(force_isa(Isa::avx512));
      EXPECT_EQ(avx2, draw(logits, filter, uniform));
    }
  }
}

TEST(Sampling, PortableAgreesWithinRounding) {
  const std::vector<float> logits = some_logits(5003);
  ASSERT_TRUE(force_isa(Isa::portable));
  const Draw portable = draw(logits, {0.6f, 50, 0.9f, 0.01f}, 0.5);
  ASSERT_TRUE(force_isa(best_isa()));
  const Draw best = draw(logits, {0.6f, 50, 0.9f, 0.01f}, 0.5);
  EXPECT_EQ(portable.token, best.token);
  EXPECT_NEAR(portable.logprob, best.logprob, 1e-5);
}

TEST(Philox, GivesThePublishedVector) {  // Random123's known answer for philox4x32-10
  std::uint32_t counter[4] = {0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu};
  philox4x32(0xffffffffffffffffull, counter);
  EXPECT_EQ(counter[0], 0x408f276du);
  EXPECT_EQ(counter[1], 0x41c83b0eu);
  EXPECT_EQ(counter[2], 0xa20bc7c6u);
  EXPECT_EQ(counter[3], 0x6d5451fdu);
}

}  // namespace
}  // namespace r1::kernels

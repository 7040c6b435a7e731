#include "kernels/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/common/philox.h"
#include "kernels/common/select.h"
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

/// Runs a kernel on one row, whose workspace has no word to spare.
template <class Kernel, class Element>
Draw draw_with(Kernel kernel, const std::vector<Element>& logits, SamplingFilter filter,
               double uniform) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  std::vector<float> workspace(sample_workspace(vocab));
  Draw result;
  kernel(logits.data(), 1, vocab, filter, &uniform, workspace.data(), &result.token,
         &result.logprob, &result.truncated_logprob, &result.entropy);
  return result;
}

Draw draw(const std::vector<float>& logits, SamplingFilter filter, double uniform) {
  return draw_with(R1_CPU(sample_cpu), logits, filter, uniform);
}

constexpr SamplingFilter kFilters[] = {{1.f, 0, 1, 0},   {0.6f, 50, 1, 0}, {1.f, 0, 0.9, 0},
                                       {1.f, 0, 1, 0.5}, {1.f, 1, 1, 0},   {0.6f, 50, 0.9, 0.01}};

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
    const Draw result = draw(logits, {1.f, 0, 1, 0}, below + p / 2);
    EXPECT_EQ(result.token, static_cast<std::int64_t>(i));
    EXPECT_NEAR(result.logprob, std::log(p), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, EveryVocabulary, testing::Values(1, 15, 16, 17, 1024, 1025, 4999));

TEST(Sampling, GivesTheScorersBits) {
  const std::vector<float> logits = some_logits(2999);
  const Draw result = draw(logits, {0.7f, 0, 1, 0}, 0.3);
  float logprob, entropy;
  R1_CPU(token_logprobs_cpu)
  (logits.data(), &result.token, 1, 2999, 0.7f, &logprob, &entropy, nullptr, nullptr);
  EXPECT_EQ(result.logprob, logprob);
  EXPECT_EQ(result.entropy, entropy);
}

TEST(Sampling, GivesTheSameBitsOnAvx2AndAvx512) {
  if (best_isa() != Isa::avx512) GTEST_SKIP() << "this CPU lacks avx512";
  const std::vector<float> logits = some_logits(5003);
  for (const SamplingFilter& filter : kFilters) {
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
  const Draw portable = draw(logits, {0.6f, 50, 0.9, 0.01}, 0.5);
  ASSERT_TRUE(force_isa(best_isa()));
  const Draw best = draw(logits, {0.6f, 50, 0.9, 0.01}, 0.5);
  EXPECT_EQ(portable.token, best.token);
  EXPECT_NEAR(portable.logprob, best.logprob, 1e-5);
}

TEST(Sampling, GivesTheBitsOfTheSameValuesInFloat) {
  for (const int vocab : {1, 15, 1025, 70001}) {
    std::vector<float> floats = some_logits(vocab);
    std::vector<bf16> halves;
    for (float& value : floats) {
      halves.push_back({static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16)});
      value = widen(halves.back());
    }
    for (const SamplingFilter& filter : kFilters)
      EXPECT_EQ(draw_with(R1_CPU(sample_bf16_cpu), halves, filter, 0.3), draw(floats, filter, 0.3));
  }
}

TEST(Sampling, FlagsARowWithoutADistribution) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const int vocab : {1, 17, 5003}) {
    const std::vector<float> nothing(vocab, -kInfinity);
    std::vector<float> not_a_number = some_logits(vocab), infinite = not_a_number;
    not_a_number.back() = std::numeric_limits<float>::quiet_NaN();
    infinite[vocab / 2] = kInfinity;
    for (const std::vector<float>& logits : {nothing, not_a_number, infinite}) {
      for (const SamplingFilter& filter : kFilters) {
        const Draw result = draw(logits, filter, 0.99);
        EXPECT_EQ(result.token, 0);
        EXPECT_TRUE(std::isnan(result.logprob) && std::isnan(result.truncated_logprob) &&
                    std::isnan(result.entropy));
      }
    }
  }
}

using portable::Measure;

/// A row to select from: logits that equal their weights, whole multiples of `unit`, so that every
/// sum is exact in any order.
struct Weighted {
  std::vector<float> weights;  // in whole vectors
  std::int64_t count;

  Weighted(std::int64_t tokens, std::uint32_t distinct, float unit)
      : weights((tokens + 15) / 16 * 16), count(tokens) {
    for (std::int64_t i = 0; i < count; ++i) {
      std::uint32_t bits[4] = {static_cast<std::uint32_t>(i), distinct, 0, 0};
      philox4x32(5, bits);
      weights[i] = static_cast<float>(1 + bits[0] % distinct) * unit;
    }
  }

  double mass() const { return std::accumulate(weights.begin(), weights.end(), 0.); }

  /// Ranks by sorting: weight from high to low, then id.
  template <Measure M>
  std::vector<std::int64_t> top_by_sorting(double needed) const {
    std::vector<std::int64_t> ids(count);
    std::iota(ids.begin(), ids.end(), 0);
    std::ranges::stable_sort(ids, std::greater{}, [&](std::int64_t i) { return weights[i]; });
    double sum = 0;
    std::size_t kept = 0;
    for (; kept < ids.size() && (kept == 0 || sum < needed); ++kept)
      sum += M == Measure::one ? 1. : static_cast<double>(weights[ids[kept]]);
    ids.resize(kept);
    std::ranges::sort(ids);
    return ids;
  }

  template <Measure M>
  std::vector<std::int64_t> top_by_selection(double needed) const {
    std::vector<std::int32_t> workspace(weights.size());
    const auto [logit, last_tie] = portable::select_top<M>(
        weights.data(), weights.data(), static_cast<std::int64_t>(weights.size()), needed,
        {std::numeric_limits<float>::min(), 1.f}, workspace.data());
    std::vector<std::int64_t> ids;
    for (std::int64_t i = 0; i < count; ++i)
      if (weights[i] > logit || (weights[i] == logit && i <= last_tie)) ids.push_back(i);
    return ids;
  }
};

class SelectTop : public testing::TestWithParam<int> {};

TEST_P(SelectTop, KeepsWhatSortingKeeps) {
  for (const std::uint32_t distinct : {1u, 2u, 40u, 1u << 20}) {
    for (const float unit : {0x1p-20f, 0x1p-126f}) {  // up to 1, and down to the least weight
      const Weighted row(GetParam(), distinct, unit);
      for (const double share : {1e-9, 0.2, 0.5, 0.95, 0.99999, 1., 1.5}) {
        const double needed = share * row.mass(), k = std::ceil(share * GetParam());
        EXPECT_EQ(row.top_by_selection<Measure::weight>(needed),
                  row.top_by_sorting<Measure::weight>(needed));
        EXPECT_EQ(row.top_by_selection<Measure::one>(k), row.top_by_sorting<Measure::one>(k));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, SelectTop, testing::Values(1, 2, 63, 1023, 1024, 1025, 20'000));

TEST(KeyOf, OrdersAsFloatsDo) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float ascending[] = {-kInfinity, -3e38f, -1.f,  -0x1p-149f, 0.f,
                             0x1p-149f,  1.f,    1.01f, 3e38f,      kInfinity};
  for (std::size_t i = 1; i < std::size(ascending); ++i)
    EXPECT_LT(portable::key_of(ascending[i - 1]), portable::key_of(ascending[i]));
  EXPECT_EQ(portable::key_of(-0.f), portable::key_of(0.f));
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

#include "kernels/grpo_loss.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "kernels/logprob.h"
#include "tests/cuda/emulated.h"

namespace r1::kernels {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// M tokens of sequences of 0 to 5 tokens, one in four left out.
struct Tokens {
  std::vector<std::int64_t> starts{0}, ids;
  std::vector<double> advantages, weights, old_logprobs, reference, importance;

  Tokens(std::int64_t M, std::int64_t vocab) {
    for (std::int64_t end = 0, n = 0; end < M; ++n)
      starts.push_back(end = std::min(M, end + n % 6));
    const std::vector<float> noise = random_floats(5 * M, 11);
    for (std::int64_t m = 0; m < M; ++m) {
      const auto next = [&](int i) {
        return static_cast<double>(noise[static_cast<std::size_t>(5 * m + i)]);
      };
      ids.push_back((m * 7919 + 3) % vocab);
      advantages.push_back(next(0));
      weights.push_back(m % 4 == 3 ? 0 : 0.01 + 0.1 * std::abs(next(1)));
      old_logprobs.push_back(-4 + 0.5 * next(2));
      reference.push_back(-4 + 0.5 * next(3));
      importance.push_back(std::abs(next(4)));
    }
  }
  GrpoTokens all() const {
    return {advantages.data(), weights.data(), old_logprobs.data(), reference.data(),
            importance.data()};
  }
  /// On policy, without a reference.
  GrpoTokens few() const { return {advantages.data(), weights.data(), nullptr, nullptr, nullptr}; }
  std::int64_t sequences() const { return static_cast<std::int64_t>(starts.size()) - 1; }
};

GrpoLossOptions options(Surrogate surrogate, KlEstimator estimator, bool sequence_ratio = false) {
  const bool clips = surrogate == Surrogate::clipped;
  return {surrogate,
          clips ? 0.8 : -kInf,
          surrogate == Surrogate::sapo ? kInf : 1.28,
          kInf,
          1.,
          1.05,
          0.04,
          estimator,
          clips,
          sequence_ratio};
}

std::vector<GrpoLossOptions> variants() {
  std::vector<GrpoLossOptions> all;
  for (const auto surrogate : {Surrogate::clipped, Surrogate::cispo, Surrogate::sapo})
    for (const auto estimator : {KlEstimator::k1, KlEstimator::k2, KlEstimator::k3})
      all.push_back(options(surrogate, estimator));
  return all;
}

std::vector<double> as_vector(const GrpoLossSums& sums, double entropy) {
  return {sums.loss, sums.kl, sums.tokens, sums.low_clipped, sums.high_clipped, entropy};
}

TEST(CudaGrpoLoss, AgreesWithTheCpu) {
  for (const std::int64_t M : {1, 7, 700}) {
    const Tokens tokens(M, 50);
    const std::vector<float> noise = random_floats(M, 12);
    std::vector<double> logprobs;
    for (const float value : noise) logprobs.push_back(-4 + 0.5 * static_cast<double>(value));
    std::vector<GrpoLossOptions> all = variants();
    all.push_back(options(Surrogate::clipped, KlEstimator::k3, true));
    for (const GrpoLossOptions& it : all) {
      std::vector<double> expected_gradient(logprobs.size());
      const GrpoLossSums expected =
          R1_CPU(grpo_loss_cpu)(logprobs.data(), tokens.all(), tokens.starts.data(),
                                tokens.sequences(), it, expected_gradient.data());
      const std::vector<double> actual = in_both_orders([&] {
        std::vector<double> result(logprobs.size() + kLossSums);
        std::vector<double> workspace(tokens.starts.size() * kLossSums);
        EXPECT_EQ(grpo_loss_cuda(logprobs.data(), tokens.all(), tokens.starts.data(),
                                 tokens.sequences(), it, nullptr, result.data() + kLossSums,
                                 workspace.data(), result.data(), nullptr),
                  0);
        return result;
      });
      std::vector<double> both = as_vector(expected, 0);
      both.insert(both.end(), expected_gradient.begin(), expected_gradient.end());
      expect_near(actual, both, 1e-12, 1e-12);
    }
  }
}

/// The three kernels in a row, in double: sums, then the gradient with respect to the logits.
std::vector<double> exact(const std::vector<float>& logits, std::int64_t M, std::int64_t vocab,
                          const GrpoTokens& of_tokens, const Tokens& tokens,
                          const GrpoLossOptions& it, double entropy_weight) {
  const std::vector<double> wide(logits.begin(), logits.end());
  const auto count = static_cast<std::size_t>(M);
  std::vector<double> logprobs(count), entropies(count), gradient(count), dentropies(count);
  std::vector<SoftmaxStatistics> statistics(count);
  R1_CPU(token_logprobs_f64_cpu)
  (wide.data(), tokens.ids.data(), M, vocab, 1. / 0.7, logprobs.data(), entropies.data(),
   statistics.data());
  const GrpoLossSums sums = R1_CPU(grpo_loss_cpu)(logprobs.data(), of_tokens, tokens.starts.data(),
                                                  tokens.sequences(), it, gradient.data());
  double entropy = 0;
  for (std::size_t m = 0; m < count; ++m) {
    if (tokens.weights[m] == 0) continue;
    entropy += entropies[m];
    dentropies[m] = -entropy_weight;
  }
  std::vector<double> result(kLossSums + wide.size());
  std::ranges::copy(as_vector(sums, entropy), result.begin());
  R1_CPU(token_logprobs_backward_f64_cpu)
  (wide.data(), tokens.ids.data(), statistics.data(), gradient.data(), dentropies.data(), M, vocab,
   1. / 0.7, result.data() + kLossSums);
  return result;
}

template <class Element, class Gradient, class Kernel>
std::vector<double> on_gpu(Kernel kernel, const std::vector<Element>& logits, std::int64_t M,
                           std::int64_t vocab, const GrpoTokens& of_tokens, const Tokens& tokens,
                           const GrpoLossOptions& it, float entropy_weight) {
  return in_both_orders([&] {
    std::vector<Element> rows = logits;
    std::vector<Gradient> gradient(logits.size());
    Gradient* to = gradient.data();
    if constexpr (std::is_same_v<Element, Gradient>) to = rows.data();  // in place
    std::vector<double> workspace(static_cast<std::size_t>(M) * kLossSums), result(kLossSums);
    EXPECT_EQ(kernel(rows.data(), tokens.ids.data(), M, vocab, static_cast<float>(1 / 0.7),
                     of_tokens, it, entropy_weight, to, nullptr, workspace.data(), nullptr),
              0);
    EXPECT_EQ(grpo_loss_sums_cuda(workspace.data(), M, result.data(), nullptr), 0);
    for (std::size_t i = 0; i < gradient.size(); ++i)
      result.push_back(static_cast<double>(widen(to[i])));
    return result;
  });
}

/// By each kernel that holds rows, a vocabulary.
class Rows : public testing::TestWithParam<std::tuple<const char*, std::int64_t>> {
 protected:
  void SetUp() override { setenv("R1CORE_LOSS_KERNEL", std::get<0>(GetParam()), 1); }
  void TearDown() override {
    unsetenv("R1CORE_LOSS_KERNEL");
    emulation::ptx_version = 90;
  }
  static std::int64_t vocabulary() { return std::get<1>(GetParam()); }
};

TEST_P(Rows, FloatAgreesWithDouble) {
  constexpr std::int64_t kM = 5;
  const std::int64_t vocab = vocabulary();
  const Tokens tokens(kM, vocab);
  const std::vector<float> logits = random_floats(kM * vocab, 7, 3);
  const GrpoLossOptions it = options(Surrogate::clipped, KlEstimator::k3);
  for (const double entropy_weight : {0., 0.25})
    for (const GrpoTokens& of_tokens : {tokens.all(), tokens.few()})
      expect_near(on_gpu<float, float>(grpo_loss_from_logits_cuda, logits, kM, vocab, of_tokens,
                                       tokens, it, static_cast<float>(entropy_weight)),
                  exact(logits, kM, vocab, of_tokens, tokens, it, entropy_weight), 2e-6, 1e-5);
}

TEST_P(Rows, Bfloat16GradientsAreRoundedOnce) {
  constexpr std::int64_t kM = 3;
  const std::int64_t vocab = vocabulary();
  const Tokens tokens(kM, vocab);
  const std::vector<bf16> logits = to_bf16(random_floats(kM * vocab, 8, 3));
  const GrpoLossOptions it = options(Surrogate::clipped, KlEstimator::k3);
  const auto expected = exact(to_floats(logits), kM, vocab, tokens.all(), tokens, it, 0);
  expect_near(on_gpu<bf16, bf16>(grpo_loss_from_logits_bf16_cuda, logits, kM, vocab, tokens.all(),
                                 tokens, it, 0),
              expected, 2e-6, 1. / 256);
  expect_near(on_gpu<float, bf16>(grpo_loss_from_logits_narrow_cuda, to_floats(logits), kM, vocab,
                                  tokens.all(), tokens, it, 0),
              expected, 2e-6, 1. / 256);
}

TEST_P(Rows, WithoutAGradientTheSumsHaveTheSameBits) {
  constexpr std::int64_t kM = 3;
  const std::int64_t vocab = vocabulary();
  const Tokens tokens(kM, vocab);
  std::vector<float> logits = random_floats(kM * vocab, 9, 3);
  const std::vector<float> before = logits;
  const GrpoLossOptions it = options(Surrogate::clipped, KlEstimator::k3);
  std::vector<double> only(kM * kLossSums, -1), with_gradient(kM * kLossSums, -1);
  for (const bool wanted : {false, true}) {
    EXPECT_EQ(grpo_loss_from_logits_cuda(logits.data(), tokens.ids.data(), kM, vocab, 1.5f,
                                         tokens.all(), it, 0.1f, wanted ? logits.data() : nullptr,
                                         nullptr, (wanted ? with_gradient : only).data(), nullptr),
              0);
    EXPECT_EQ(logits == before, !wanted);
  }
  EXPECT_EQ(only, with_gradient);
}

// On Ampere, and on a GPU newer than the library whose driver compiles the code for Ampere.
TEST_P(Rows, CodeWithoutClustersGivesTheSameBits) {
  constexpr std::int64_t kM = 3;
  const std::int64_t vocab = vocabulary();
  const Tokens tokens(kM, vocab);
  const std::vector<float> logits = random_floats(kM * vocab, 9, 3);
  const GrpoLossOptions it = options(Surrogate::clipped, KlEstimator::k3);
  const auto run = [&] {
    return on_gpu<float, float>(grpo_loss_from_logits_cuda, logits, kM, vocab, tokens.all(), tokens,
                                it, 0.1f);
  };
  const auto clustered = run();
  emulation::ptx_version = 80;
  EXPECT_EQ(run(), clustered);
}

/// Rows go through a block several at a time, some of which don't count: the first ones, one in
/// four, and a long stretch. Each has the bits that it has alone.
template <class Element, class Kernel>
void expect_rows_alone(Kernel kernel, const std::vector<Element>& logits, std::int64_t M,
                       std::int64_t vocab) {
  Tokens tokens(M, vocab);
  for (const std::int64_t m : {0, 1, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21})
    tokens.weights[static_cast<std::size_t>(m)] = 0;
  const GrpoLossOptions it = options(Surrogate::clipped, KlEstimator::k3);
  const auto run = [&](std::int64_t first, std::int64_t count) {
    std::vector<Element> rows(logits.begin() + first * vocab,
                              logits.begin() + (first + count) * vocab);
    std::vector<double> workspace(static_cast<std::size_t>(count) * kLossSums);
    const GrpoTokens of_tokens{tokens.advantages.data() + first, tokens.weights.data() + first,
                               tokens.old_logprobs.data() + first, tokens.reference.data() + first,
                               tokens.importance.data() + first};
    EXPECT_EQ(kernel(rows.data(), tokens.ids.data() + first, count, vocab, 1.f, of_tokens, it, 0.f,
                     rows.data(), nullptr, workspace.data(), nullptr),
              0);
    std::vector<double> result(workspace);
    for (const Element value : rows) result.push_back(static_cast<double>(widen(value)));
    return result;
  };
  const std::vector<double> all = in_both_orders([&] { return run(0, M); });
  for (const std::size_t warp : {0, 1, 4, 10}) {
    emulation::starved = warp;
    EXPECT_TRUE(run(0, M) == all) << vocab << ", without warp " << warp;
  }
  emulation::starved = emulation::kNobody;
  for (const std::size_t rank : {1, 15}) {
    emulation::late_block = rank;
    EXPECT_TRUE(run(0, M) == all) << vocab << ", block " << rank << " late";
  }
  emulation::late_block = emulation::kNobody;
  for (std::int64_t m = 0; m < M; ++m) {
    const std::vector<double> alone = run(m, 1);
    const auto sums = all.begin() + m * kLossSums, row = all.begin() + M * kLossSums + m * vocab;
    EXPECT_TRUE(std::equal(sums, sums + kLossSums, alone.begin())) << vocab << ", " << m;
    EXPECT_TRUE(std::equal(row, row + vocab, alone.begin() + kLossSums)) << vocab << ", " << m;
  }
}

TEST_P(Rows, ManyHaveTheBitsOfEachAlone) {
  constexpr std::int64_t kM = 41;
  const std::int64_t vocab = vocabulary();
  if (vocab > 74000) return;  // seconds; the clusters are the same
  const std::vector<float> logits = random_floats(kM * vocab, 9, 3);
  expect_rows_alone<float>(grpo_loss_from_logits_cuda, logits, kM, vocab);
  expect_rows_alone<bf16>(grpo_loss_from_logits_bf16_cuda, to_bf16(logits), kM, vocab);
}

// A lane, an odd row, a slice, some, a block's shared memory full, clusters of 2 and 8, one of 16
// of which a block has no slice, and beyond.
INSTANTIATE_TEST_SUITE_P(Vocabularies, Rows,
                         testing::Combine(testing::Values("resident", "pipelined"),
                                          testing::Values(1, 13, 1024, 2051, 9000, 20481, 30000,
                                                          74000, 151936, 480000)));

TEST(CudaGrpoLoss, BothKernelsHaveTheSameBitsOfWhateverLogits) {
  constexpr std::int64_t kM = 7;
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  for (const std::int64_t vocab : {1, 5000, 30001, 74000}) {
    std::vector<float> logits = random_floats(kM * vocab, 9, 3);
    const auto row = [&](std::int64_t m) { return logits.begin() + m * vocab; };
    for (std::int64_t i = 0; i < vocab; i += 3) row(0)[i] = -kInfinite;
    std::fill(row(1), row(2), -kInfinite);
    row(2)[vocab / 2] = kInfinite;
    row(3)[vocab - 1] = std::numeric_limits<float>::quiet_NaN();
    Tokens tokens(kM, vocab);
    std::ranges::fill(tokens.weights, 0.5);
    tokens.ids[4] = -1, tokens.ids[5] = vocab;
    const auto run = [&](const char* kernel) {
      setenv("R1CORE_LOSS_KERNEL", kernel, 1);
      std::vector<float> rows = logits;
      std::vector<double> workspace(kM * kLossSums);
      EXPECT_EQ(
          grpo_loss_from_logits_cuda(rows.data(), tokens.ids.data(), kM, vocab, 1.f, tokens.all(),
                                     options(Surrogate::clipped, KlEstimator::k3), 0.1f,
                                     rows.data(), nullptr, workspace.data(), nullptr),
          0);
      unsetenv("R1CORE_LOSS_KERNEL");
      for (const float value : rows) workspace.push_back(static_cast<double>(value));
      return workspace;
    };
    const std::vector<double> actual = run("pipelined"), expected = run("resident");
    EXPECT_EQ(std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(double)), 0)
        << vocab;
  }
}

TEST(CudaGrpoLoss, LogprobsHaveTheScorersBits) {
  constexpr std::int64_t kM = 4, kVocab = 50000;
  const std::vector<float> logits = random_floats(kM * kVocab, 10, 3);
  const Tokens tokens(kM, kVocab);
  std::vector<float> scores(2 * kM);
  std::vector<unsigned char> space(static_cast<std::size_t>(softmax_workspace_cuda(kM, kVocab)));
  ASSERT_EQ(token_logprobs_cuda(logits.data(), tokens.ids.data(), kM, kVocab, 1.f, scores.data(),
                                scores.data() + kM, nullptr, space.data(), nullptr),
            0);
  // -weight A logprob, the cispo term on policy, tells the log-probability of a single row.
  GrpoLossOptions it = options(Surrogate::cispo, KlEstimator::k3);
  for (std::int64_t m = 0; m < 3; ++m) {
    const double advantage = 1, weight = 1;
    std::vector<float> row(logits.begin() + m * kVocab, logits.begin() + (m + 1) * kVocab);
    std::vector<double> workspace(kLossSums);
    ASSERT_EQ(grpo_loss_from_logits_cuda(row.data(), tokens.ids.data() + m, 1, kVocab, 1.f,
                                         {&advantage, &weight, nullptr, nullptr, nullptr}, it, 0,
                                         row.data(), nullptr, workspace.data(), nullptr),
              0);
    EXPECT_EQ(static_cast<float>(-workspace[0]), scores[static_cast<std::size_t>(m)]);
    EXPECT_EQ(static_cast<float>(workspace[5]), scores[static_cast<std::size_t>(kM + m)]);
  }
}

TEST_P(Rows, LogprobsAreKeptOfThoseThatCount) {
  constexpr std::int64_t kM = 5;
  const std::int64_t vocab = vocabulary();
  if (vocab > 1) {  // else the log-probability is 0
    const std::vector<float> logits = random_floats(kM * vocab, 10, 3);
    const Tokens tokens(kM, vocab);
    const std::vector<float> kept = in_both_orders([&] {
      std::vector<float> rows = logits, logprobs(kM, 1.f);
      std::vector<double> workspace(kM * kLossSums);
      EXPECT_EQ(
          grpo_loss_from_logits_cuda(rows.data(), tokens.ids.data(), kM, vocab, 1.f, tokens.few(),
                                     options(Surrogate::cispo, KlEstimator::k3), 0, rows.data(),
                                     logprobs.data(), workspace.data(), nullptr),
          0);
      for (std::size_t m = 0; m < kM; ++m)  // on policy: -weight A logprob
        EXPECT_NEAR(workspace[m * kLossSums],
                    -tokens.weights[m] * tokens.advantages[m] * static_cast<double>(logprobs[m]),
                    1e-6);
      return logprobs;
    });
    for (std::size_t m = 0; m < kM; ++m)
      EXPECT_EQ(kept[m] == 0, tokens.weights[m] == 0) << vocab << ", " << m;
  }
}

TEST(CudaGrpoLoss, ATokenThatDoesNotExistGivesNan) {
  const double advantage = 1, weight = 1, old = -2;
  for (const GrpoLossOptions& it : variants()) {
    for (const std::int64_t id : {-1, 10}) {
      for (const double* const old_logprob : {static_cast<const double*>(nullptr), &old}) {
        std::vector<float> row = random_floats(10, 1);
        std::vector<double> workspace(kLossSums);
        ASSERT_EQ(grpo_loss_from_logits_cuda(row.data(), &id, 1, 10, 1.f,
                                             {&advantage, &weight, old_logprob, nullptr, nullptr},
                                             it, 0, row.data(), nullptr, workspace.data(), nullptr),
                  0);
        EXPECT_TRUE(std::isnan(workspace[0]));
        for (const float gradient : row) EXPECT_TRUE(std::isnan(gradient));
      }
    }
  }
}

}  // namespace
}  // namespace r1::kernels

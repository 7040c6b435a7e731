#include "kernels/sampling.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include "kernels/common/philox.h"
#include "kernels/logprob.h"
#include "tests/cuda/emulated.h"

namespace r1::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr SamplingFilter kAll{1.f, 0, 1., 0.f};

struct Draws {
  std::vector<std::int64_t> tokens;
  std::vector<float> logprobs, truncated, entropies;
};

/// The results, of threads in either order.
template <class Element>
Draws on_gpu(const std::vector<Element>& logits, std::int64_t vocab, const SamplingFilter& filter,
             const std::vector<double>& uniforms) {
  const std::size_t N = uniforms.size();
  const std::vector<double> numbers = in_both_orders([&] {
    Draws it{std::vector<std::int64_t>(N), std::vector<float>(N), std::vector<float>(N),
             std::vector<float>(N)};
    const auto run = [&](auto& kernel) {
      return kernel(logits.data(), static_cast<std::int64_t>(N), vocab, filter, uniforms.data(),
                    it.tokens.data(), it.logprobs.data(), it.truncated.data(), it.entropies.data(),
                    nullptr);
    };
    if constexpr (std::is_same_v<Element, float>)
      EXPECT_EQ(run(sample_cuda), 0);
    else
      EXPECT_EQ(run(sample_bf16_cuda), 0);
    std::vector<double> all(it.tokens.begin(), it.tokens.end());
    for (const auto* part : {&it.logprobs, &it.truncated, &it.entropies})
      all.insert(all.end(), part->begin(), part->end());
    return all;
  });
  const auto part = [&](std::size_t i) {
    return numbers.begin() + static_cast<std::ptrdiff_t>(i * N);
  };
  return {{part(0), part(1)}, {part(1), part(2)}, {part(2), part(3)}, {part(3), part(4)}};
}

Draws on_cpu(const std::vector<float>& logits, std::int64_t vocab, const SamplingFilter& filter,
             const std::vector<double>& uniforms) {
  const std::size_t N = uniforms.size();
  Draws it{std::vector<std::int64_t>(N), std::vector<float>(N), std::vector<float>(N),
           std::vector<float>(N)};
  std::vector<float> workspace(static_cast<std::size_t>(sample_workspace(vocab)));
  R1_CPU(sample_cpu)
  (logits.data(), static_cast<std::int64_t>(N), vocab, filter, uniforms.data(), workspace.data(),
   it.tokens.data(), it.logprobs.data(), it.truncated.data(), it.entropies.data());
  return it;
}

std::vector<double> grid(std::size_t count) {
  std::vector<double> uniforms;
  for (std::size_t i = 0; i < count; ++i)
    uniforms.push_back((static_cast<double>(i) + 0.5) / static_cast<double>(count));
  return uniforms;
}

std::vector<float> repeated(const std::vector<float>& row, std::size_t count) {
  std::vector<float> rows;
  for (std::size_t n = 0; n < count; ++n) rows.insert(rows.end(), row.begin(), row.end());
  return rows;
}

/// Rows that a selection could get wrong.
std::vector<std::vector<float>> hard_rows(std::int64_t vocab) {
  const std::vector<float> normal = random_floats(vocab, 11);
  std::vector<std::vector<float>> rows(9, normal);
  for (std::size_t i = 0; i < normal.size(); ++i) {
    rows[1][i] = 8 * normal[i];                  // one token has most of the mass
    rows[2][i] = std::nearbyint(2 * normal[i]);  // ties across every boundary
    rows[3][i] = 0;                              // all tie
    rows[4][i] = i == normal.size() / 2 ? 3 : -kInf;
    rows[5][i] = 1e-6f * normal[i];  // all weigh the same or nearly
    rows[6][i] = normal[i] > 0 || i == 0 ? normal[i] : -kInf;
    rows[7][i] = i == normal.size() / 2 ? 0 : -87.5f - std::abs(normal[i]);  // near underflow
    rows[8][i] = i % 3 ? -1e9f : 40 + normal[i];  // a mask as transformers writes it
  }
  return rows;
}

/// What is kept, in double, by sorting.
struct Kept {
  std::map<std::int64_t, double> weights;
  double mass = 0;
  bool sharp = true;  // no running sum is so close to the boundary that rounding decides

  std::int64_t token_at(double uniform) const {
    double running = 0;
    for (const auto& [id, weight] : weights)
      if ((running += weight) > uniform * mass) return id;
    return weights.rbegin()->first;
  }
  double beyond(std::int64_t token) const {
    double sum = 0;
    for (const auto& [id, weight] : weights) sum += id > token ? weight : 0;
    return sum;
  }
};

constexpr double kFirst = 1e-12, kLast = 1 - 1e-12;

Kept by_sorting(const std::vector<float>& row, const SamplingFilter& filter) {
  std::vector<std::int64_t> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  const auto logit = [&](std::int64_t id) { return row[static_cast<std::size_t>(id)]; };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return logit(a) > logit(b); });
  const float max = logit(order[0]);
  const auto weight = [&](std::int64_t id) {
    const double z = static_cast<double>(logit(id) - max) / static_cast<double>(filter.temperature);
    return z < -87.3 ? 0. : std::exp(z);
  };
  if (filter.top_k > 0 && filter.top_k < static_cast<std::int64_t>(order.size()))
    order.resize(static_cast<std::size_t>(filter.top_k));
  double total = 0, running = 0;
  for (const std::int64_t id : order) total += weight(id);
  Kept kept;
  for (const std::int64_t id : order) {
    if (filter.top_p < 1 && running >= filter.top_p * total) break;
    running += weight(id);
    if (filter.top_p < 1 && std::abs(running / total - filter.top_p) < 1e-6) kept.sharp = false;
    if (weight(id) < static_cast<double>(filter.min_p) || weight(id) == 0) continue;
    kept.weights[id] = weight(id);
    kept.mass += weight(id);
  }
  return kept;
}

const SamplingFilter kFilters[] = {
    {1.f, 1, 1., 0.f},       {1.f, 5, 1., 0.f},           {1.f, 901, 1., 0.f},
    {1.f, 1 << 20, 1., 0.f}, {1.f, 0, 0.8971, 0.f},       {1.f, 0, 1e-9, 0.f},
    {1.f, 0, 0.6131, 0.f},   {1.f, 0, 0.99937, 0.f},      {1.f, 0, 1., 0.0203f},
    {0.6f, 3, 0.7077, 0.f},  {0.6f, 3001, 0.9503, 1e-4f}, {3.f, 700, 0.531, 0.f},
    {1.f, 0, 0.9301, 0.4f}};

TEST(CudaSampling, KeepsWhatSortingKeeps) {
  for (const std::int64_t vocab : {1, 7, 1024, 1037, 5000}) {
    for (const std::vector<float>& row : hard_rows(vocab)) {
      for (const SamplingFilter& filter : kFilters) {
        const Kept kept = by_sorting(row, filter);
        const std::vector<double> uniforms = {kFirst, 0.3, 0.77, kLast};
        const Draws it = on_gpu(repeated(row, uniforms.size()), vocab, filter, uniforms);
        if (!kept.sharp) continue;
        for (std::size_t n = 0; n < uniforms.size(); ++n) {
          ASSERT_TRUE(kept.weights.count(it.tokens[n]))
              << vocab << " " << filter.top_k << " " << filter.top_p << " drew " << it.tokens[n];
          const float logit = row[static_cast<std::size_t>(it.tokens[n])];
          const float max = *std::max_element(row.begin(), row.end());
          const double z =
              static_cast<double>(logit - max) / static_cast<double>(filter.temperature);
          ASSERT_NEAR(static_cast<double>(it.truncated[n]), z - std::log(kept.mass), 4e-6)
              << vocab << " " << filter.top_k << " " << filter.top_p << " " << filter.min_p;
        }
        ASSERT_EQ(it.tokens[0], kept.token_at(kFirst));
        if (filter.top_k < vocab) {  // and so no sum is rounded
          ASSERT_EQ(it.tokens[3], kept.token_at(kLast));
        }
        ASSERT_LE(kept.beyond(it.tokens[3]), 3e-7 * kept.mass);
      }
    }
  }
}

TEST(CudaSampling, DrawsWhatTheCpuDraws) {
  constexpr std::int64_t kVocab = 3079;
  const std::vector<double> uniforms = grid(61);
  const std::vector<float> logits = random_floats(61 * kVocab, 3, 2);
  for (const SamplingFilter& filter :
       {kAll, SamplingFilter{0.7f, 0, 1., 0.f}, SamplingFilter{1.f, 50, 1., 0.f},
        SamplingFilter{1.f, 0, 0.95, 0.f}}) {
    const Draws gpu = on_gpu(logits, kVocab, filter, uniforms);
    const Draws cpu = on_cpu(logits, kVocab, filter, uniforms);
    std::size_t other = 0;
    for (std::size_t n = 0; n < uniforms.size(); ++n) {
      if (gpu.tokens[n] != cpu.tokens[n]) {  // beside a boundary of the CDF
        ++other;
        continue;
      }
      EXPECT_NEAR(gpu.logprobs[n], cpu.logprobs[n], 3e-6);
      EXPECT_NEAR(gpu.truncated[n], cpu.truncated[n], 3e-6);
    }
    EXPECT_LE(other, 1u);
    expect_near(gpu.entropies, cpu.entropies, 3e-6);
  }
}

TEST(CudaSampling, ReportsTheScorersBits) {
  constexpr std::int64_t kVocab = 2999;
  const std::vector<double> uniforms = grid(7);
  const std::vector<float> logits = random_floats(7 * kVocab, 5, 3);
  for (const SamplingFilter& filter : {kAll, SamplingFilter{0.6f, 0, 0.9, 0.f}}) {
    const Draws it = on_gpu(logits, kVocab, filter, uniforms);
    std::vector<float> logprobs(7), entropies(7);
    std::vector<unsigned char> workspace(
        static_cast<std::size_t>(softmax_workspace_cuda(7, kVocab)));
    ASSERT_EQ(
        token_logprobs_cuda(logits.data(), it.tokens.data(), 7, kVocab, filter.temperature,
                            logprobs.data(), entropies.data(), nullptr, workspace.data(), nullptr),
        0);
    EXPECT_EQ(it.logprobs, logprobs);
    EXPECT_EQ(it.entropies, entropies);
  }
}

TEST(CudaSampling, Bfloat16LogitsCountAsTheFloatsTheyAre) {
  const std::vector<double> uniforms = grid(5);
  for (const std::int64_t vocab : {1, 7, 1037, 5000}) {
    const std::vector<bf16> logits = to_bf16(random_floats(5 * vocab, 2, 3));
    for (const SamplingFilter& filter : {kAll, kFilters[1], kFilters[4], kFilters[10]}) {
      const Draws narrow = on_gpu(logits, vocab, filter, uniforms);
      const Draws wide = on_gpu(to_floats(logits), vocab, filter, uniforms);
      EXPECT_EQ(narrow.tokens, wide.tokens);
      EXPECT_EQ(narrow.logprobs, wide.logprobs);
      EXPECT_EQ(narrow.truncated, wide.truncated);
    }
  }
}

TEST(CudaSampling, ARowDoesNotDependOnTheRowsBeside) {
  constexpr std::int64_t kVocab = 2051;
  constexpr std::size_t kRows = 140;  // more than few: blocks of another size
  const std::vector<double> uniforms = grid(kRows);
  const std::vector<float> logits = random_floats(static_cast<std::int64_t>(kRows) * kVocab, 4, 3);
  for (const SamplingFilter& filter : {kAll, SamplingFilter{1.f, 0, 0.9, 0.f}}) {
    const Draws all = on_gpu(logits, kVocab, filter, uniforms);
    for (const std::size_t n : {std::size_t{0}, std::size_t{77}}) {
      const auto begin = logits.begin() + static_cast<std::ptrdiff_t>(n) * kVocab;
      const Draws one =
          on_gpu(std::vector<float>(begin, begin + kVocab), kVocab, filter, {uniforms[n]});
      EXPECT_EQ(all.tokens[n], one.tokens[0]);
      EXPECT_EQ(all.truncated[n], one.truncated[0]);
      EXPECT_EQ(all.logprobs[n], one.logprobs[0]);
      EXPECT_EQ(all.entropies[n], one.entropies[0]);
    }
  }
}

TEST(CudaSampling, RowsWithoutADistributionAreFlagged) {
  constexpr std::int64_t kVocab = 1500;
  std::vector<float> logits = random_floats(4 * kVocab, 1);
  std::fill_n(logits.begin(), kVocab, -kInf);
  logits[kVocab + 3] = std::nanf("");
  logits[2 * kVocab + 1400] = kInf;
  std::fill_n(logits.begin() + 3 * kVocab, 1024, -kInf);  // a slice of them is no such row
  for (const SamplingFilter& filter : {kAll, kFilters[1], kFilters[4], kFilters[8]}) {
    const Draws it = on_gpu(logits, kVocab, filter, {0.5, 0.5, 0.5, 0.5});
    for (std::size_t n = 0; n < 3; ++n) {
      EXPECT_EQ(it.tokens[n], 0);
      EXPECT_TRUE(std::isnan(it.logprobs[n]) && std::isnan(it.truncated[n]) &&
                  std::isnan(it.entropies[n]));
    }
    EXPECT_GE(it.tokens[3], 1024);
    EXPECT_TRUE(std::isfinite(it.truncated[3]));
  }
}

TEST(CudaSampling, MaskedTokensAreNeverDrawn) {
  constexpr std::int64_t kVocab = 37;
  std::vector<float> row = random_floats(kVocab, 9, 4);
  for (std::size_t i = 0; i < row.size(); i += 2) row[i] = -kInf;
  std::vector<double> uniforms = grid(500);
  uniforms[0] = 0x1p-54, uniforms[499] = 1 - 0x1p-53;
  for (const SamplingFilter& filter : {kAll, kFilters[4]}) {
    const Draws it = on_gpu(repeated(row, uniforms.size()), kVocab, filter, uniforms);
    for (const std::int64_t token : it.tokens) EXPECT_EQ(token % 2, 1);
    EXPECT_TRUE(std::is_sorted(it.tokens.begin(), it.tokens.end()));
  }
}

TEST(CudaSampling, UniformsOutOfRangeGiveATokenInRange) {
  constexpr std::int64_t kVocab = 1100;
  const std::vector<double> uniforms = {-1, 0, 1, 1e300, std::nan(""), static_cast<double>(kInf)};
  const std::vector<float> logits = random_floats(6 * kVocab, 9);
  for (const SamplingFilter& filter : {kAll, kFilters[1], kFilters[4], kFilters[8]})
    for (const std::int64_t token : on_gpu(logits, kVocab, filter, uniforms).tokens)
      EXPECT_TRUE(token >= 0 && token < kVocab);
}

TEST(CudaSampling, ALongListOfCandidatesIsNarrowedDown) {
  // More tokens than the list holds, in one bin by logit, then in one by key, then all of one key.
  constexpr std::int64_t kVocab = 9001;
  std::vector<std::vector<float>> rows(3, random_floats(kVocab, 21));
  for (std::size_t i = 0; i < rows[0].size(); ++i) {
    rows[0][i] = i == 5000 ? 20.f : 1e-4f * rows[0][i];
    rows[1][i] = i == 5000 ? 20.f : 1.f + 1e-7f * std::nearbyint(3 * rows[1][i]);
    rows[2][i] = i % 2 ? -2.f : 0.5f;
  }
  for (const std::vector<float>& row : rows)
    for (const SamplingFilter& filter :
         {SamplingFilter{1.f, 4001, 1., 0.f}, SamplingFilter{9.f, 0, 0.77123, 0.f},
          SamplingFilter{9.f, 6007, 0.7313, 0.f}}) {
      const Kept kept = by_sorting(row, filter);
      const Draws it = on_gpu(repeated(row, 2), kVocab, filter, {kFirst, kLast});
      EXPECT_EQ(it.tokens[0], kept.token_at(kFirst));
      EXPECT_EQ(it.tokens[1], kept.token_at(kLast));
    }
}

TEST(CudaSampling, UniformsAreTheCpus) {
  std::vector<std::int64_t> counters(1000);
  std::iota(counters.begin(), counters.end(), 0);
  std::vector<double> uniforms(counters.size());
  const std::uint64_t seed = 0x123456789ABCDEF0u;
  ASSERT_EQ(philox_uniforms_cuda(seed, counters.data(), counters.data() + 1, counters.data(), 999,
                                 uniforms.data(), nullptr),
            0);
  for (std::uint32_t n = 0; n < 999; ++n)
    EXPECT_EQ(uniforms[n], philox_uniform(seed, n, n + 1, n, PhiloxStream::kSampling));
}

}  // namespace
}  // namespace r1::kernels

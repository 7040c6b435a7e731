#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "tests/kernels/panels.h"

namespace r1::kernels {
namespace {

struct Case {
  std::int64_t heads, head_dim, prefix_begin, prefix_end, suffix_begin, suffix_end;
};

/// Random keys and values; positions that are not visible hold NaN, which must not leak.
struct Stretch {
  std::vector<float> keys, values;
  KvSpan span;
  std::int64_t head_dim;

  Stretch(std::int64_t width, std::int64_t begin, std::int64_t end, unsigned seed)
      : head_dim(width) {
    const std::int64_t capacity = (end + 16) / 16 * 16;
    keys = random_floats(capacity * head_dim, seed);
    values = random_floats(capacity * head_dim, seed + 1);
    for (std::int64_t t = 0; t < capacity; ++t)
      for (std::int64_t k = 0; k < head_dim && (t < begin || t >= end); ++k)
        keys[key(t, k)] = values[value(t, k)] = std::nanf("");
    span = {keys.data(), values.data(), begin, end};
  }
  std::size_t key(std::int64_t t, std::int64_t k) const {
    return at((t / 16 * head_dim + k) * 16 + t % 16);
  }
  std::size_t value(std::int64_t t, std::int64_t k) const { return at(t * head_dim + k); }
};

class AttentionKernel : public testing::TestWithParam<Case> {};

TEST_P(AttentionKernel, MatchesDoubleAtEveryLevel) {
  const auto& [heads, head_dim, prefix_begin, prefix_end, suffix_begin, suffix_end] = GetParam();
  const Stretch prefix(head_dim, prefix_begin, prefix_end, 1);
  const Stretch suffix(head_dim, suffix_begin, suffix_end, 5);
  const std::vector<float> query = random_floats(heads * head_dim, 9);
  const float scale = 0.3f;

  std::vector<double> expected(query.size());
  for (std::int64_t h = 0; h < heads; ++h) {
    double total = 0;
    for (const Stretch* part : {&prefix, &suffix})
      for (std::int64_t t = part->span.begin; t < part->span.end; ++t) {
        double score = 0;
        for (std::int64_t k = 0; k < head_dim; ++k)
          score += double{query[at(h * head_dim + k)]} * double{part->keys[part->key(t, k)]};
        const double weight = std::exp(score * double{scale});
        total += weight;
        for (std::int64_t k = 0; k < head_dim; ++k)
          expected[at(h * head_dim + k)] += weight * double{part->values[part->value(t, k)]};
      }
    for (std::int64_t k = 0; k < head_dim; ++k) expected[at(h * head_dim + k)] /= total;
  }

  const auto run = [&, heads = heads, head_dim = head_dim] {
    std::vector<float> workspace(at(attention_workspace(prefix.span.end, suffix.span.end)));
    std::vector<float> out(query.size());
    const QueryHeads items[] = {{query.data(), prefix.span, suffix.span, out.data()}};
    R1_CPU(attention_cpu)
    (items, 1, heads, head_dim, scale, workspace.data());
    return out;
  };
  expect_near(at_every_level(run), expected, 1e-5);
  expect_near(at_portable_level(run), expected, 1e-5);
}

/// 16 tokens in lanes, of which each sees one position more of the suffix, or a window that slides.
struct LanesCase {
  std::int64_t head_dim, prefix, suffix, window;
};

class AttentionLanes : public testing::TestWithParam<LanesCase> {};

TEST_P(AttentionLanes, HasTheBitsOfATokenAloneAtEveryLevel) {
  const auto& [head_dim, prefix_end, suffix_end, window] = GetParam();
  const Stretch prefix(head_dim, 0, prefix_end, 1), suffix(head_dim, 0, suffix_end + 15, 5);
  const std::vector<float> query = random_floats(head_dim * 16, 9);
  const float scale = 0.3f;
  std::int64_t begins[2][16], ends[2][16];
  for (std::int64_t lane = 0; lane < 16; ++lane) {
    const std::int64_t end = suffix_end + lane;
    const std::int64_t oldest = window ? std::max<std::int64_t>(0, prefix_end + end - window) : 0;
    begins[0][lane] = std::min(oldest, prefix_end);
    ends[0][lane] = prefix_end;
    begins[1][lane] = std::max<std::int64_t>(0, oldest - prefix_end);
    ends[1][lane] = end;
  }
  const auto together = [&, head_dim = head_dim, prefix_end = prefix_end, suffix_end = suffix_end] {
    std::vector<float> workspace(at(attention_lanes_workspace(prefix_end, suffix_end + 15)));
    std::vector<float> out(query.size());
    const KvLanes seen[] = {{prefix.keys.data(), prefix.values.data(), begins[0], ends[0]},
                            {suffix.keys.data(), suffix.values.data(), begins[1], ends[1]}};
    R1_CPU(attention_lanes_cpu)
    (query.data(), seen[0], seen[1], head_dim, scale, workspace.data(), out.data());
    return out;
  };
  const auto alone = [&, head_dim = head_dim, prefix_end = prefix_end, suffix_end = suffix_end] {
    std::vector<float> workspace(at(attention_workspace(prefix_end, suffix_end + 15)));
    std::vector<float> lanes(query.size()), row(at(head_dim)), out(at(head_dim));
    for (std::size_t lane = 0; lane < 16; ++lane) {
      for (std::size_t k = 0; k < row.size(); ++k) row[k] = query[k * 16 + lane];
      KvSpan first = prefix.span, second = suffix.span;
      std::tie(first.begin, first.end) = std::pair(begins[0][lane], ends[0][lane]);
      std::tie(second.begin, second.end) = std::pair(begins[1][lane], ends[1][lane]);
      const QueryHeads items[] = {{row.data(), first, second, out.data()}};
      R1_CPU(attention_cpu)(items, 1, 1, head_dim, scale, workspace.data());
      for (std::size_t k = 0; k < row.size(); ++k) lanes[k * 16 + lane] = out[k];
    }
    return lanes;
  };
  EXPECT_EQ(at_every_level(together), at_every_level(alone));
  EXPECT_EQ(at_portable_level(together), at_portable_level(alone));
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionLanes,
                         testing::Values(LanesCase{32, 24, 17, 0}, LanesCase{8, 1, 1, 0},
                                         LanesCase{20, 33, 2, 0}, LanesCase{64, 131, 48, 0},
                                         LanesCase{16, 19, 4, 7}, LanesCase{24, 3, 40, 21}));

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionKernel,
                         testing::Values(Case{1, 8, 0, 1, 0, 0}, Case{2, 32, 0, 24, 0, 5},
                                         Case{1, 24, 0, 16, 0, 16}, Case{3, 64, 0, 131, 0, 47},
                                         Case{2, 20, 7, 40, 0, 3}, Case{1, 16, 40, 40, 21, 50}));

}  // namespace
}  // namespace r1::kernels

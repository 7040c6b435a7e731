#include "kernels/attention.h"

#include <algorithm>
#include <cmath>

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

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionKernel,
                         testing::Values(Case{1, 8, 0, 1, 0, 0}, Case{2, 32, 0, 24, 0, 5},
                                         Case{1, 24, 0, 16, 0, 16}, Case{3, 64, 0, 131, 0, 47},
                                         Case{2, 20, 7, 40, 0, 3}, Case{1, 16, 40, 40, 21, 50}));

}  // namespace
}  // namespace r1::kernels

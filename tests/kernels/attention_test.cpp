#include "kernels/attention.h"

#include <algorithm>
#include <cmath>

#include "tests/kernels/panels.h"

namespace r1::kernels {
namespace {

struct Case {
  AttentionShape shape;
  std::int64_t prefix_begin, prefix_end, suffix_begin, suffix_end;
};

/// Random keys and values; positions that are not visible hold NaN, which must not leak.
struct Stretch {
  std::vector<float> keys, values;
  KvSpan span;
  AttentionShape shape;

  Stretch(AttentionShape kv_shape, std::int64_t begin, std::int64_t end, unsigned seed)
      : shape(kv_shape) {
    const std::int64_t capacity = (end + 16) / 16 * 16;
    keys = random_floats(shape.kv_heads * capacity * shape.head_dim, seed);
    values = random_floats(shape.kv_heads * capacity * shape.head_dim, seed + 1);
    span = {nullptr, nullptr, capacity, begin, end};
    for (std::int64_t head = 0; head < shape.kv_heads; ++head)
      for (std::int64_t t = 0; t < capacity; ++t)
        for (std::int64_t k = 0; k < shape.head_dim && (t < begin || t >= end); ++k)
          keys[key(head, t, k)] = values[value(head, t, k)] = std::nanf("");
    span.keys = keys.data();
    span.values = values.data();
  }
  std::size_t key(std::int64_t head, std::int64_t t, std::int64_t k) const {
    return at(((head * (span.capacity / 16) + t / 16) * shape.head_dim + k) * 16 + t % 16);
  }
  std::size_t value(std::int64_t head, std::int64_t t, std::int64_t k) const {
    return at((head * span.capacity + t) * shape.head_dim + k);
  }
};

class AttentionKernel : public testing::TestWithParam<Case> {};

TEST_P(AttentionKernel, MatchesDoubleAtEveryLevel) {
  const auto& [shape, prefix_begin, prefix_end, suffix_begin, suffix_end] = GetParam();
  const Stretch prefix(shape, prefix_begin, prefix_end, 1);
  const Stretch suffix(shape, suffix_begin, suffix_end, 5);
  const std::int64_t width = shape.heads * shape.head_dim;
  const std::vector<float> query = random_floats(width, 9);
  const float scale = 0.3f;

  std::vector<double> expected(at(width));
  for (std::int64_t h = 0; h < shape.heads; ++h) {
    const std::int64_t head = h * shape.kv_heads / shape.heads;
    double total = 0;
    for (const Stretch* part : {&prefix, &suffix})
      for (std::int64_t t = part->span.begin; t < part->span.end; ++t) {
        double score = 0;
        for (std::int64_t k = 0; k < shape.head_dim; ++k)
          score +=
              double{query[at(h * shape.head_dim + k)]} * double{part->keys[part->key(head, t, k)]};
        const double weight = std::exp(score * double{scale});
        total += weight;
        for (std::int64_t k = 0; k < shape.head_dim; ++k)
          expected[at(h * shape.head_dim + k)] +=
              weight * double{part->values[part->value(head, t, k)]};
      }
    for (std::int64_t k = 0; k < shape.head_dim; ++k) expected[at(h * shape.head_dim + k)] /= total;
  }

  const auto run = [&] {
    std::vector<float> workspace(at(attention_workspace(prefix_end, suffix_end)));
    std::vector<float> out(at(width));
    R1_CPU(attention_cpu)
    (query.data(), prefix.span, suffix.span, shape, scale, workspace.data(), out.data());
    return out;
  };
  expect_near(at_every_level(run), expected, 1e-5);
  expect_near(at_portable_level(run), expected, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionKernel,
                         testing::Values(Case{{1, 1, 8}, 0, 1, 0, 0}, Case{{4, 2, 32}, 0, 24, 0, 5},
                                         Case{{4, 4, 24}, 0, 16, 0, 16},
                                         Case{{6, 2, 64}, 0, 131, 0, 47},
                                         Case{{2, 1, 20}, 7, 40, 0, 3},
                                         Case{{2, 2, 16}, 40, 40, 21, 50}));

}  // namespace
}  // namespace r1::kernels

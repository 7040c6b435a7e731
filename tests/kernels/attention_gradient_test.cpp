#include <algorithm>
#include <cmath>

#include "kernels/attention.h"
#include "tests/kernels/panels.h"

namespace r1::kernels {
namespace {

using Doubles = std::vector<double>;

/// What the first row sees. Each row sees one more position of the suffix, and `slide` fewer of the
/// prefix.
struct Case {
  std::int64_t rows, head_dim, prefix_begin, prefix_end, suffix_begin, suffix_end, slide;
};

/// Keys and values by position. Hidden positions hold numbers too: they must not count.
struct Part {
  std::int64_t head_dim, end, size;
  std::vector<float> keys, values;  // [end, head_dim]
  std::vector<float> key_blocks;    // [end / 16, head_dim, 16]
  std::vector<float> gradients;     // of keys, then of values, in blocks
  std::int64_t begins[16], ends[16];

  Part(std::int64_t width, std::int64_t positions, unsigned seed)
      : head_dim(width),
        end(positions),
        size((end + 15) / 16 * 16 * width),
        keys(random_floats(end * width, seed)),
        values(random_floats(end * width, seed + 1)),
        key_blocks(at(size)) {
    for (std::int64_t t = 0; t < end; ++t)
      for (std::int64_t k = 0; k < width; ++k) key_blocks[block(t, k)] = keys[at(t * width + k)];
  }
  std::size_t block(std::int64_t t, std::int64_t k) const {
    return at((t / 16 * head_dim + k) * 16 + t % 16);
  }
  KvLanes view() const { return {key_blocks.data(), values.data(), begins, ends}; }
  KvGradients clear() {
    gradients.assign(at(2 * size), 0.f);
    return {gradients.data(), gradients.data() + size};
  }
  void append_gradients(std::vector<float>& to) const {
    for (std::int64_t start : {std::int64_t{0}, size})
      for (std::int64_t t = 0; t < end; ++t)
        for (std::int64_t k = 0; k < head_dim; ++k)
          to.push_back(gradients[at(start) + block(t, k)]);
  }
};

/// Rows to lanes, [width, 16]; lanes without a row hold zeros.
std::vector<float> panel(const std::vector<float>& rows, std::int64_t width) {
  std::vector<float> lanes(at(width * 16));
  for (std::size_t i = 0; i < rows.size(); ++i) lanes[i % at(width) * 16 + i / at(width)] = rows[i];
  return lanes;
}

class AttentionGradient : public testing::TestWithParam<Case> {};

TEST_P(AttentionGradient, MatchesDifferencesAtEveryLevel) {
  const Case c = GetParam();
  const std::int64_t width = c.head_dim, rows = c.rows;
  Part prefix(width, c.prefix_end, 1), suffix(width, c.suffix_end + rows - 1, 5);
  const std::vector<float> query = random_floats(rows * width, 9);
  const std::vector<float> dout = random_floats(rows * width, 10);
  const float scale = 0.3f;
  for (std::int64_t lane = 0; lane < 16; ++lane) {
    const std::int64_t row = std::min(lane, rows - 1);
    prefix.begins[lane] = std::min(c.prefix_begin + c.slide * row, c.prefix_end);
    prefix.ends[lane] = c.prefix_end;
    suffix.begins[lane] = c.suffix_begin;
    suffix.ends[lane] = c.suffix_end + row;
  }

  // Everything in one vector: queries, then keys and values of both parts.
  std::vector<float> inputs = query;
  for (const std::vector<float>* more :
       {&prefix.keys, &prefix.values, &suffix.keys, &suffix.values})
    inputs.insert(inputs.end(), more->begin(), more->end());
  const std::int64_t sizes[] = {prefix.end * width, suffix.end * width};
  const std::int64_t starts[] = {rows * width, rows * width + 2 * sizes[0]};
  const auto loss = [&](const Doubles& x) {
    double sum = 0;
    for (std::int64_t q = 0; q < rows; ++q) {
      double total = 0, gained = 0;
      for (int part = 0; part < 2; ++part) {
        const Part& seen = part == 0 ? prefix : suffix;
        for (std::int64_t t = seen.begins[q]; t < seen.ends[q]; ++t) {
          double score = 0, gain = 0;
          for (std::int64_t k = 0; k < width; ++k) {
            const std::int64_t key = starts[part] + t * width + k;
            score += x[at(q * width + k)] * x[at(key)];
            gain += double{dout[at(q * width + k)]} * x[at(key + sizes[part])];
          }
          total += std::exp(scale * score);
          gained += std::exp(scale * score) * gain;
        }
      }
      sum += gained / total;
    }
    return sum;
  };
  const Doubles expected = numeric_gradient(inputs, loss);
  const auto run = [&] {
    const std::vector<float> q = panel(query, width), out = panel(dout, width);
    std::vector<float> dq(q.size());
    std::vector<float> workspace(at(attention_gradient_workspace(prefix.end, suffix.end)));
    const KvGradients to_prefix = prefix.clear(), to_suffix = suffix.clear();
    R1_CPU(attention_backward_cpu)
    (q.data(), out.data(), prefix.view(), suffix.view(), width, scale, workspace.data(), to_prefix,
     to_suffix, dq.data());
    std::vector<float> result;
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t k = 0; k < width; ++k) result.push_back(dq[at(k * 16 + row)]);
    prefix.append_gradients(result);
    suffix.append_gradients(result);
    return result;
  };
  expect_near(at_every_level(run), expected, 2e-5);
  expect_near(at_portable_level(run), expected, 2e-5);
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionGradient,
                         testing::Values(Case{1, 4, 0, 1, 0, 0, 0}, Case{3, 16, 0, 5, 0, 3, 0},
                                         Case{16, 20, 0, 33, 0, 1, 0}, Case{4, 12, 7, 21, 0, 9, 3},
                                         Case{9, 8, 5, 9, 0, 30, 1}, Case{16, 32, 0, 16, 0, 16, 0},
                                         Case{5, 48, 3, 3, 0, 1, 0}));

}  // namespace
}  // namespace r1::kernels

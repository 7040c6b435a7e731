#include "kernels/attention.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {
namespace {

/// A span's blocks of 16 positions that hold a visible one.
struct Blocks {
  const KvSpan& span;
  std::int64_t first, last;

  explicit Blocks(const KvSpan& kv)
      : span(kv), first(kv.begin / kLanes), last((kv.end + kLanes - 1) / kLanes) {
    if (span.begin == span.end) last = first;
  }
  std::int64_t columns() const { return (last - first) * kParts; }
};

/// Scores of both spans in register columns, the suffix's blocks after the prefix's.
struct Scores {
  const Blocks prefix, suffix;
  std::int64_t head_dim;
  float* values;

  std::int64_t columns() const { return prefix.columns() + suffix.columns(); }
  const float* keys(std::int64_t column) const {
    const bool shared = column < prefix.columns();
    const Blocks& blocks = shared ? prefix : suffix;
    if (!shared) column -= prefix.columns();
    return blocks.span.keys + (blocks.first + column / kParts) * head_dim * kLanes +
           column % kParts * kPartLanes;
  }
};

template <int... C>
R1_INLINE void score_columns(const float* query, float scale, const Scores& scores,
                             std::int64_t column, Indices<C...>) {
  const float* const keys[] = {scores.keys(column + C)...};
  FloatRegister sum[sizeof...(C)] = {};
  for (std::int64_t k = 0; k < scores.head_dim; ++k)
    ((sum[C] += query[k] * load_register(keys[C] + k * kLanes)), ...);
  (store_register(scores.values + (column + C) * kPartLanes, sum[C] * scale), ...);
}

/// The last `left` <= N columns. Each is one chain of additions: the more at a time, the better.
template <int N>
R1_INLINE void score_last(const float* query, float scale, const Scores& scores,
                          std::int64_t left) {
  if constexpr (N > 0) {
    if (left == N)
      score_columns(query, scale, scores, scores.columns() - N, UpTo<N>{});
    else
      score_last<N - 1>(query, scale, scores, left);
  }
}

/// -inf for the positions of a span's blocks outside of [begin, end).
void hide(const Blocks& blocks, float* values) {
  const std::int64_t origin = blocks.first * kLanes;
  for (std::int64_t t = origin; t < blocks.span.begin; ++t) values[t - origin] = -__builtin_inff();
  for (std::int64_t t = blocks.span.end; t < blocks.last * kLanes; ++t)
    values[t - origin] = -__builtin_inff();
}

/// Turns the scores of one query into weights e^(score - max). @return their sum
float weigh(const float* query, float scale, const Scores& scores) {
  const std::int64_t columns = scores.columns(), count = columns * kPartLanes;
  std::int64_t c = 0;
  for (; c + 8 <= columns; c += 8) score_columns(query, scale, scores, c, UpTo<8>{});
  score_last<7>(query, scale, scores, columns - c);
  if (scores.prefix.columns() > 0) hide(scores.prefix, scores.values);
  if (scores.suffix.columns() > 0)
    hide(scores.suffix, scores.values + scores.prefix.columns() * kPartLanes);
  f32x16 largest = splat(-__builtin_inff()), sum{};
  for (std::int64_t i = 0; i < count; i += kLanes) largest = max(load(scores.values + i), largest);
  const float max = horizontal_max(largest);
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const f32x16 weights = exp(load(scores.values + i) - max);
    store(scores.values + i, weights);
    sum += weights;
  }
  return horizontal_sum(sum);
}

/// Weights and values of a span's visible positions.
struct Values {
  const float* weights;  // [count]
  const float* rows;     // [count, head_dim]
  std::int64_t count;

  Values(const Blocks& blocks, const float* scores, std::int64_t head_dim)
      : weights(scores + (blocks.span.begin - blocks.first * kLanes)),
        rows(blocks.span.values + blocks.span.begin * head_dim),
        count(blocks.span.end - blocks.span.begin) {}
};

/// Even and odd positions of a span apart: more chains of additions at a time.
template <int... C>
R1_INLINE void mix_columns(const Values (&parts)[2], std::int64_t head_dim, std::int64_t channel,
                           float inverse_sum, float* out, Indices<C...>) {
  FloatRegister even[sizeof...(C)] = {}, odd[sizeof...(C)] = {};
  for (const Values& part : parts) {
    const float* row = part.rows + channel;
    std::int64_t t = 0;
    for (; t + 2 <= part.count; t += 2, row += 2 * head_dim)
      ((even[C] += part.weights[t] * load_register(row + C * kPartLanes),
        odd[C] += part.weights[t + 1] * load_register(row + head_dim + C * kPartLanes)),
       ...);
    if (t < part.count) ((even[C] += part.weights[t] * load_register(row + C * kPartLanes)), ...);
  }
  (store_register(out + channel + C * kPartLanes, (even[C] + odd[C]) * inverse_sum), ...);
}

/// The channels that fill no register. Not a scalar loop: g++ would vectorise its products and add
/// them unfused, with other bits.
void mix_rest(const Values (&parts)[2], std::int64_t head_dim, std::int64_t channel,
              float inverse_sum, float* out) {
  const std::int64_t count = head_dim - channel;
  f32x16 sums[2] = {};
  for (const Values& part : parts)
    for (std::int64_t t = 0; t < part.count; ++t) {
      const f32x16 row = load_partial(part.rows + t * head_dim + channel, count, 0.f);
      for (int i = 0; i < kParts; ++i) sums[t % 2].part[i] += part.weights[t] * row.part[i];
    }
  store_partial(out + channel, (sums[0] + sums[1]) * inverse_sum, count);
}

void mix(const Values (&parts)[2], std::int64_t head_dim, float inverse_sum, float* out) {
  std::int64_t k = 0;
  for (; k + 4 * kPartLanes <= head_dim; k += 4 * kPartLanes)
    mix_columns(parts, head_dim, k, inverse_sum, out, Indices<0, 1, 2, 3>{});
  for (; k + 2 * kPartLanes <= head_dim; k += 2 * kPartLanes)
    mix_columns(parts, head_dim, k, inverse_sum, out, Indices<0, 1>{});
  for (; k + kPartLanes <= head_dim; k += kPartLanes)
    mix_columns(parts, head_dim, k, inverse_sum, out, Indices<0>{});
  if (k < head_dim) mix_rest(parts, head_dim, k, inverse_sum, out);
}

}  // namespace

void attention_cpu(const float* query, KvSpan prefix, KvSpan suffix, std::int64_t heads,
                   std::int64_t head_dim, float scale, float* workspace, float* out) noexcept {
  const Scores scores{Blocks(prefix), Blocks(suffix), head_dim, workspace};
  const float* const own = workspace + scores.prefix.columns() * kPartLanes;
  for (std::int64_t h = 0; h < heads; ++h) {
    const float sum = weigh(query + h * head_dim, scale, scores);
    const Values parts[2] = {Values(scores.prefix, workspace, head_dim),
                             Values(scores.suffix, own, head_dim)};
    mix(parts, head_dim, 1.f / sum, out + h * head_dim);
  }
}

}  // namespace r1::kernels::R1_ISA

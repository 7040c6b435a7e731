#include "kernels/attention.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {
namespace {

/// A span's blocks of 16 positions that hold a visible one.
struct Blocks {
  const KvSpan* span;
  std::int64_t first, last;

  void begin(const KvSpan& kv) {
    span = &kv;
    first = kv.begin / kLanes;
    last = kv.begin == kv.end ? first : (kv.end + kLanes - 1) / kLanes;
  }
  std::int64_t columns() const { return (last - first) * kParts; }
};

/// Scores of a query over both spans in register columns, the suffix's blocks after the prefix's.
struct Scores {
  Blocks prefix, suffix;
  const float* query;
  float *values, *out;
  float sum;  // of the weights

  std::int64_t columns() const { return prefix.columns() + suffix.columns(); }
  const float* keys(std::int64_t column, std::int64_t head_dim) const {
    const bool shared = column < prefix.columns();
    const Blocks& blocks = shared ? prefix : suffix;
    if (!shared) column -= prefix.columns();
    return blocks.span->keys + (blocks.first + column / kParts) * head_dim * kLanes +
           column % kParts * kPartLanes;
  }
};

template <int... C>
R1_INLINE void score_columns(const Scores& scores, std::int64_t head_dim, float scale,
                             std::int64_t column, Indices<C...>) {
  const float* const query = scores.query;
  const float* const keys[] = {scores.keys(column + C, head_dim)...};
  FloatRegister sum[sizeof...(C)] = {};
  for (std::int64_t k = 0; k < head_dim; ++k)
    ((sum[C] += query[k] * load_register(keys[C] + k * kLanes)), ...);
  (store_register(scores.values + (column + C) * kPartLanes, sum[C] * scale), ...);
}

/// The last `left` <= N columns. Each is one chain of additions: the more at a time, the better.
template <int N>
R1_INLINE void score_last(const Scores& scores, std::int64_t head_dim, float scale,
                          std::int64_t left) {
  if constexpr (N > 0) {
    if (left == N)
      score_columns(scores, head_dim, scale, scores.columns() - N, UpTo<N>{});
    else
      score_last<N - 1>(scores, head_dim, scale, left);
  }
}

/// -inf for the lanes of a block outside of [begin, end).
R1_INLINE void keep(float* block, std::int64_t begin, std::int64_t end) {
  alignas(64) static constexpr float kLane[] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                8, 9, 10, 11, 12, 13, 14, 15};
  const f32x16 lane = load(kLane), hidden = splat(-__builtin_inff()), scores = load(block);
  const f32x16 before_end = select(lane < splat(static_cast<float>(end)), scores, hidden);
  store(block, select(lane < splat(static_cast<float>(begin)), hidden, before_end));
}

/// -inf for the positions of a span's blocks outside of [begin, end): in its first and last block.
R1_INLINE void hide(const Blocks& blocks, float* values) {
  if (blocks.first == blocks.last) return;
  const std::int64_t origin = blocks.first * kLanes, last = (blocks.last - 1) * kLanes;
  if (blocks.span->begin > origin) keep(values, blocks.span->begin - origin, kLanes);
  if (blocks.span->end < last + kLanes) keep(values + last - origin, 0, blocks.span->end - last);
}

void score(const Scores& scores, std::int64_t head_dim, float scale) {
  const std::int64_t columns = scores.columns();
  std::int64_t c = 0;
  for (; c + 8 <= columns; c += 8) score_columns(scores, head_dim, scale, c, UpTo<8>{});
  score_last<7>(scores, head_dim, scale, columns - c);
  hide(scores.prefix, scores.values);
  hide(scores.suffix, scores.values + scores.prefix.columns() * kPartLanes);
}

/// Turns the scores of one query into weights e^(score - max). @return their sum
R1_INLINE float weigh(const Scores& scores) {
  const std::int64_t count = scores.columns() * kPartLanes;
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
  bool odd;  // the first position

  Values(const Blocks& blocks, const float* scores, std::int64_t head_dim)
      : weights(scores + (blocks.span->begin - blocks.first * kLanes)),
        rows(blocks.span->values + blocks.span->begin * head_dim),
        count(blocks.span->end - blocks.span->begin),
        odd(count > 0 && blocks.span->begin % 2) {}
};

/// Even and odd positions of a span apart: more chains of additions at a time.
template <int... C>
R1_INLINE void mix_columns(const Values (&parts)[2], std::int64_t head_dim, std::int64_t channel,
                           float inverse_sum, float* out, Indices<C...>) {
  FloatRegister even[sizeof...(C)] = {}, odd[sizeof...(C)] = {};
  for (const Values& part : parts) {
    const float* row = part.rows + channel;
    std::int64_t t = 0;
    if (part.odd) {
      ((odd[C] += part.weights[0] * load_register(row + C * kPartLanes)), ...);
      row += head_dim;
      t = 1;
    }
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
      for (int i = 0; i < kParts; ++i)
        sums[(t + part.odd) % 2].part[i] += part.weights[t] * row.part[i];
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

void attention_cpu(const QueryHeads* items, std::int64_t count, std::int64_t heads,
                   std::int64_t head_dim, float scale, float* workspace) noexcept {
  // Each step for all of them: its long chains overlap, where one query's steps would not.
  for (std::int64_t first = 0; first < count * heads; first += kQueriesTogether) {
    const std::int64_t left = count * heads - first;
    const std::int64_t together = left < kQueriesTogether ? left : kQueriesTogether;
    Scores queries[kQueriesTogether];
    float* free = workspace;
    for (std::int64_t i = 0; i < together; ++i) {
      const QueryHeads& item = items[(first + i) / heads];
      const std::int64_t at = (first + i) % heads * head_dim;
      Scores& scores = queries[i];
      scores.prefix.begin(item.prefix);
      scores.suffix.begin(item.suffix);
      scores.query = item.query + at;
      scores.values = free;
      scores.out = item.out + at;
      score(scores, head_dim, scale);
      free += scores.columns() * kPartLanes;
    }
    for (std::int64_t i = 0; i < together; ++i) queries[i].sum = weigh(queries[i]);
    for (std::int64_t i = 0; i < together; ++i) {
      const Scores& scores = queries[i];
      const float* const own = scores.values + scores.prefix.columns() * kPartLanes;
      const Values parts[2] = {Values(scores.prefix, scores.values, head_dim),
                               Values(scores.suffix, own, head_dim)};
      mix(parts, head_dim, 1.f / scores.sum, scores.out);
    }
  }
}

}  // namespace r1::kernels::R1_ISA

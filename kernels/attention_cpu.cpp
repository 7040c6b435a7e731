#include "kernels/attention.h"

#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {
namespace {

/// A span's blocks of 16 positions that hold a visible one, and where their scores go.
struct Blocks {
  const KvSpan& span;
  std::int64_t first, last;
  float* scores;  // of block `first`

  Blocks(const KvSpan& kv, float* workspace)
      : span(kv),
        first(kv.begin / kLanes),
        last((kv.end + kLanes - 1) / kLanes),
        scores(workspace) {
    if (span.begin == span.end) last = first;
  }
  std::int64_t count() const { return last - first; }
};

template <int... C>
R1_INLINE void score_columns(const float* query, std::int64_t head_dim, const float* keys,
                             float scale, float* scores, Indices<C...>) {
  const std::int64_t block = head_dim * kLanes;
  FloatRegister sum[sizeof...(C)] = {};
  for (std::int64_t k = 0; k < head_dim; ++k)
    ((sum[C] +=
      query[k] * load_register(keys + C / kParts * block + k * kLanes + C % kParts * kPartLanes)),
     ...);
  (store_register(scores + C * kPartLanes, sum[C] * scale), ...);
}

/// Scores of every block; positions outside [begin, end) get -inf. Returns the largest.
float score(const float* query, std::int64_t head_dim, float scale, const Blocks& blocks) {
  const float nothing = -__builtin_inff();
  if (blocks.count() == 0) return nothing;
  const std::int64_t size = head_dim * kLanes;
  const float* const keys = blocks.span.keys + blocks.first * size;
  const std::int64_t columns = blocks.count() * kParts;
  std::int64_t c = 0;
  for (; c + 4 <= columns; c += 4)
    score_columns(query, head_dim, keys + c / kParts * size, scale, blocks.scores + c * kPartLanes,
                  Indices<0, 1, 2, 3>{});
  for (; c < columns; ++c)
    score_columns(query, head_dim, keys + c / kParts * size + c % kParts * kPartLanes, scale,
                  blocks.scores + c * kPartLanes, Indices<0>{});
  const std::int64_t origin = blocks.first * kLanes;
  for (std::int64_t t = origin; t < blocks.span.begin; ++t) blocks.scores[t - origin] = nothing;
  for (std::int64_t t = blocks.span.end; t < blocks.last * kLanes; ++t)
    blocks.scores[t - origin] = nothing;
  f32x16 largest = splat(nothing);
  for (std::int64_t i = 0; i < blocks.count() * kLanes; i += kLanes)
    largest = max(load(blocks.scores + i), largest);
  return horizontal_max(largest);
}

/// Turns scores into weights e^(score - max), adding them to `sum` lane by lane.
f32x16 weigh(const Blocks& blocks, float max, f32x16 sum) {
  for (std::int64_t i = 0; i < blocks.count() * kLanes; i += kLanes) {
    const f32x16 weights = exp(load(blocks.scores + i) - max);
    store(blocks.scores + i, weights);
    sum += weights;
  }
  return sum;
}

struct Values {
  const float* weights;  // [count]
  const float* rows;     // [count, head_dim]
  std::int64_t count;
};

Values visible_values(const Blocks& blocks, std::int64_t head_dim) {
  const KvSpan& span = blocks.span;
  return {blocks.scores + (span.begin - blocks.first * kLanes), span.values + span.begin * head_dim,
          span.end - span.begin};
}

template <int... C>
R1_INLINE void mix_columns(const Values (&parts)[2], std::int64_t head_dim, std::int64_t channel,
                           float inverse_sum, float* out, Indices<C...>) {
  FloatRegister sum[sizeof...(C)] = {};
  for (const Values& part : parts)
    for (std::int64_t t = 0; t < part.count; ++t)
      ((sum[C] +=
        part.weights[t] * load_register(part.rows + t * head_dim + channel + C * kPartLanes)),
       ...);
  (store_register(out + channel + C * kPartLanes, sum[C] * inverse_sum), ...);
}

/// The channels that fill no register. Not a scalar loop: g++ would vectorise its products and add
/// them unfused, with other bits.
void mix_rest(const Values (&parts)[2], std::int64_t head_dim, std::int64_t channel,
              float inverse_sum, float* out) {
  const std::int64_t count = head_dim - channel;
  f32x16 sum = splat(0.f);
  for (const Values& part : parts)
    for (std::int64_t t = 0; t < part.count; ++t)
      sum += load_partial(part.rows + t * head_dim + channel, count, 0.f) * part.weights[t];
  store_partial(out + channel, sum * inverse_sum, count);
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
  const Blocks shared(prefix, workspace);
  const Blocks own(suffix, workspace + shared.count() * kLanes);
  for (std::int64_t h = 0; h < heads; ++h) {
    const float* const q = query + h * head_dim;
    const float first = score(q, head_dim, scale, shared);
    const float second = score(q, head_dim, scale, own);
    const float max = first > second ? first : second;
    const float sum = horizontal_sum(weigh(own, max, weigh(shared, max, f32x16{})));
    const Values parts[2] = {visible_values(shared, head_dim), visible_values(own, head_dim)};
    mix(parts, head_dim, 1.f / sum, out + h * head_dim);
  }
}

}  // namespace r1::kernels::R1_ISA

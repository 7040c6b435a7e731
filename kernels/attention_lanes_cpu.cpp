#include "kernels/common/attention_part.h"

namespace r1::kernels::R1_ISA {
namespace {

/// Scores of positions t + T...
template <int... T>
R1_INLINE void score(const Part& part, std::int64_t t, const float* query, float scale,
                     Indices<T...>) {
  const float* const keys = part.key(t);
  f32x16 scores[sizeof...(T)] = {};
  for (std::int64_t k = 0; k < part.head_dim; ++k) {
    const f32x16 q = load(query + k * kLanes);
    ((scores[T] += q * keys[k * kLanes + T]), ...);
  }
  (part.keep(t + T, scores[T] * scale), ...);
}

/// Turns scores into weights e^(score - max). @return their sum, in attention_cpu's order
R1_INLINE f32x16 weigh(const Part (&parts)[2]) {
  f32x16 largest = splat(-__builtin_inff());
  for (const Part& part : parts) largest = part.largest_score(largest);
  f32x16 sums[kLanes] = {};  // by position modulo 16
  for (const Part& part : parts)
    for (std::int64_t t = part.first; t < part.last; ++t) {
      const f32x16 weight = exp(load(part.weight(t)) - largest);
      store(part.weight(t), weight);
      sums[t % kLanes] += weight;
    }
  for (int step = kLanes / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) sums[i] += sums[i + step];
  return sums[0];
}

/// Adds the value at position t, channels C... from `channel` on.
template <int... C>
R1_INLINE void add(const Part& part, std::int64_t t, std::int64_t channel, f32x16* sums,
                   Indices<C...>) {
  const f32x16 weight = load(part.weight(t));
  const float* const value = part.value(t) + channel;
  ((sums[C] += weight * value[C]), ...);
}

/// The same, where some lanes do not see t: they add 0 * -0, which leaves any sum as it is, where
/// the value itself might be infinite.
template <int... C>
R1_INLINE void add_seen(const Part& part, std::int64_t t, std::int64_t channel, f32x16* sums,
                        Indices<C...>) {
  const f32x16 weight = load(part.weight(t)), hidden = splat(-0.f);
  const float* const value = part.value(t) + channel;
  ((sums[C] += weight * part.where_seen(t, splat(value[C]), hidden)), ...);
}

/// Even and odd positions of a part apart, as attention_cpu has it.
template <int... C>
R1_INLINE void mix(const Part (&parts)[2], std::int64_t channel, const f32x16& inverse_sum,
                   float* out, Indices<C...> channels) {
  f32x16 even[sizeof...(C)] = {}, odd[sizeof...(C)] = {};
  for (const Part& part : parts) {
    std::int64_t t = part.first;
    for (; t + 2 <= part.last; t += 2) {
      if (part.all_see(t) && part.all_see(t + 1)) {
        add(part, t, channel, even, channels);
        add(part, t + 1, channel, odd, channels);
      } else {
        add_seen(part, t, channel, even, channels);
        add_seen(part, t + 1, channel, odd, channels);
      }
    }
    if (t < part.last) add_seen(part, t, channel, even, channels);
  }
  (store(out + (channel + C) * kLanes, (even[C] + odd[C]) * inverse_sum), ...);
}

}  // namespace

void attention_lanes_cpu(const float* query, const KvLanes& prefix, const KvLanes& suffix,
                         std::int64_t head_dim, float scale, float* workspace,
                         float* out) noexcept {
  Part parts[] = {Part(prefix, head_dim), Part(suffix, head_dim)};
  parts[0].weights = workspace;
  parts[1].weights = workspace + parts[0].count() * kLanes;
  for (const Part& part : parts)
    each_tile<kTile>(part.first, part.last,
                     [&](std::int64_t t, auto tile) { score(part, t, query, scale, tile); });
  const f32x16 inverse_sum = splat(1.f) / weigh(parts);
  each_tile<kTile>(0, head_dim,
                   [&](std::int64_t k, auto tile) { mix(parts, k, inverse_sum, out, tile); });
}

}  // namespace r1::kernels::R1_ISA

#pragma once
#include "kernels/attention.h"
#include "kernels/common/simd.h"

/// Attention of 16 tokens in lanes: what its forward and its backward pass share.
namespace r1::kernels::R1_ISA {

// Sums that a step keeps in registers besides as many of another kind; divides kLanes.
#if defined(__AVX512F__)
constexpr int kTile = 8;
#else
constexpr int kTile = 2;
#endif

/// Calls body(i, Indices) for tiles of [begin, end).
template <int Tile, class Body>
R1_INLINE void each_tile(std::int64_t begin, std::int64_t end, const Body& body) {
  std::int64_t i = begin;
  for (; i + Tile <= end; i += Tile) body(i, UpTo<Tile>{});
  if constexpr (Tile > 1) each_tile<Tile / 2>(i, end, body);
}

/// One part of what the tokens see, and their weights for its positions: from `first`, where a
/// block of 16 positions begins, to `last`.
struct Part {
  const KvLanes& kv;
  std::int64_t head_dim, first = 0, last = 0;  // what any lane sees
  std::int64_t all_first = 0, all_last = 0;    // what every lane sees
  float begins[kLanes], ends[kLanes];          // exact: below 2^24
  float* weights = nullptr;                    // scores, then e^(score - max): [last - first, 16]

  Part(const KvLanes& part, std::int64_t width) : kv(part), head_dim(width) {
    first = all_first = kv.begins[0];
    last = all_last = kv.ends[0];
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::int64_t begin = kv.begins[lane], end = kv.ends[lane];
      begins[lane] = static_cast<float>(begin);
      ends[lane] = static_cast<float>(end);
      first = begin < first ? begin : first;
      all_first = begin > all_first ? begin : all_first;
      last = end > last ? end : last;
      all_last = end < all_last ? end : all_last;
    }
    first = first < last ? first / kLanes * kLanes : last;
  }

  std::int64_t count() const { return last - first; }
  bool all_see(std::int64_t t) const { return t >= all_first && t < all_last; }
  float* weight(std::int64_t t) const { return weights + (t - first) * kLanes; }
  /// Channel 0 of the key at t; the next channel is 16 floats on.
  const float* key(std::int64_t t) const {
    return kv.keys + t / kLanes * head_dim * kLanes + t % kLanes;
  }
  const float* value(std::int64_t t) const { return kv.values + t * head_dim; }

  /// `seen` in the lanes that see position t, `hidden` in the others.
  [[gnu::always_inline]] f32x16 where_seen(std::int64_t t, const f32x16& seen,
                                           const f32x16& hidden) const {
    const f32x16 at = splat(static_cast<float>(t));
    return select(at < load(begins), hidden, select(at < load(ends), seen, hidden));
  }
  /// Keeps scaled scores of position t, -inf in the lanes that do not see it.
  [[gnu::always_inline]] void keep(std::int64_t t, const f32x16& scores) const {
    store(weight(t), all_see(t) ? scores : where_seen(t, scores, splat(-__builtin_inff())));
  }
  /// The largest score of each lane, here or so far.
  [[gnu::always_inline]] f32x16 largest_score(f32x16 largest) const {
    for (std::int64_t t = first; t < last; ++t) largest = max(load(weight(t)), largest);
    return largest;
  }
};

}  // namespace r1::kernels::R1_ISA

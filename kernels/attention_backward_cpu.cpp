#include "kernels/attention.h"
#include "kernels/common/simd.h"

namespace r1::kernels::R1_ISA {
namespace {

// Positions, or channels, that a tile takes: as many sums as the registers hold.
#if defined(__AVX512F__)
constexpr int kTile = 8;
#else
constexpr int kTile = 2;
#endif

/// Calls body(i, Indices) for tiles of [begin, end).
template <class Body>
R1_INLINE void each_tile(std::int64_t begin, std::int64_t end, const Body& body) {
  std::int64_t i = begin;
  for (; i + kTile <= end; i += kTile) body(i, UpTo<kTile>{});
  for (; i < end; ++i) body(i, UpTo<1>{});
}

/// One part of the sequence: what lane i sees of it are the positions [begins[i], ends[i]).
struct Part {
  const KvGradients& kv;
  std::int64_t head_dim, first = 0, last = 0;  // what any lane sees
  std::int64_t all_first = 0, all_last = 0;    // what every lane sees
  float begins[kLanes], ends[kLanes];          // exact: below 2^24
  // Scores, then p, and gains, then ds: [position - first, 16].
  float *weights = nullptr, *slopes = nullptr;

  Part(const KvGradients& gradients, std::int64_t width, const VisibleSpans* visible,
       KvSpan VisibleSpans::* which)
      : kv(gradients), head_dim(width) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::int64_t begin = (visible[lane].*which).begin, end = (visible[lane].*which).end;
      begins[lane] = static_cast<float>(begin);
      ends[lane] = static_cast<float>(end);
      if (lane == 0 || begin < first) first = begin;
      if (lane == 0 || begin > all_first) all_first = begin;
      if (lane == 0 || end > last) last = end;
      if (lane == 0 || end < all_last) all_last = end;
    }
  }
  std::int64_t count() const { return last - first; }
  float* weight(std::int64_t t) const { return weights + (t - first) * kLanes; }
  float* slope(std::int64_t t) const { return slopes + (t - first) * kLanes; }
};

/// Scores of positions t + T..., -inf where a lane does not see them, and gains dout . value.
template <int... T>
R1_INLINE void score(const Part& part, std::int64_t t, const float* query, const float* dout,
                     float scale, Indices<T...>) {
  const float* const keys = part.kv.key_rows + t * part.head_dim;
  const float* const values = part.kv.value_rows + t * part.head_dim;
  f32x16 scores[sizeof...(T)] = {}, gains[sizeof...(T)] = {};
  for (std::int64_t k = 0; k < part.head_dim; ++k) {
    const f32x16 q = load(query + k * kLanes), out = load(dout + k * kLanes);
    ((scores[T] += q * keys[T * part.head_dim + k],
      gains[T] += out * values[T * part.head_dim + k]),
     ...);
  }
  const f32x16 begins = load(part.begins), ends = load(part.ends);
  const f32x16 hidden = splat(-__builtin_inff());
  const auto finish = [&](std::int64_t position, const f32x16& sum) __attribute__((always_inline)) {
    const f32x16 at = splat(static_cast<float>(position));
    const f32x16 scaled = sum * scale;
    return position >= part.all_first && position < part.all_last
               ? scaled
               : select(at < begins, hidden, select(at < ends, scaled, hidden));
  };
  (store(part.weight(t + T), finish(t + T, scores[T])), ...);
  (store(part.slope(t + T), gains[T]), ...);
}

/// Turns scores into p and gains into ds, over both parts.
R1_INLINE void differentiate(const Part (&parts)[2], float scale) {
  f32x16 largest = splat(-__builtin_inff()), sum{}, mean{};
  for (const Part& part : parts)
    for (std::int64_t t = part.first; t < part.last; ++t)
      largest = max(load(part.weight(t)), largest);
  for (const Part& part : parts)
    for (std::int64_t t = part.first; t < part.last; ++t) {
      const f32x16 weight = exp(load(part.weight(t)) - largest);
      store(part.weight(t), weight);
      sum += weight;
    }
  const f32x16 inverse = splat(1.f) / sum;
  for (const Part& part : parts)
    for (std::int64_t t = part.first; t < part.last; ++t) {
      const f32x16 p = load(part.weight(t)) * inverse;
      store(part.weight(t), p);
      mean += p * load(part.slope(t));
    }
  for (const Part& part : parts)
    for (std::int64_t t = part.first; t < part.last; ++t)
      store(part.slope(t), load(part.weight(t)) * (load(part.slope(t)) - mean) * scale);
}

/// Channels k + K... of the queries' gradient.
template <int... K>
R1_INLINE void query_gradient(const Part (&parts)[2], std::int64_t k, float* dquery,
                              Indices<K...>) {
  f32x16 sums[sizeof...(K)] = {};
  for (const Part& part : parts)
    for (std::int64_t t = part.first; t < part.last; ++t) {
      const f32x16 slope = load(part.slope(t));
      const float* const key = part.kv.key_rows + t * part.head_dim + k;
      ((sums[K] += slope * key[K]), ...);
    }
  (store(dquery + (k + K) * kLanes, sums[K]), ...);
}

/// Adds to the gradients of the keys and values at positions t + T..., 16 channels from k on.
template <int... T>
R1_INLINE void spread(const Part& part, std::int64_t t, std::int64_t k, std::int64_t stride,
                      const float* query_rows, const float* dout_rows, Indices<T...>) {
  float* const to_keys = part.kv.key_gradients + t * stride + k;
  float* const to_values = part.kv.value_gradients + t * stride + k;
  f32x16 keys[] = {load(to_keys + T * stride)...}, values[] = {load(to_values + T * stride)...};
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    const f32x16 q = load(query_rows + lane * stride + k),
                 out = load(dout_rows + lane * stride + k);
    ((keys[T] += q * part.slope(t + T)[lane], values[T] += out * part.weight(t + T)[lane]), ...);
  }
  ((store(to_keys + T * stride, keys[T]), store(to_values + T * stride, values[T])), ...);
}

/// The 16 lanes of a panel as rows, padded with zeros.
R1_INLINE void to_rows(const float* panel, std::int64_t width, std::int64_t stride, float* rows) {
  for (std::int64_t lane = 0; lane < kLanes; ++lane)
    for (std::int64_t k = 0; k < stride; ++k)
      rows[lane * stride + k] = k < width ? panel[k * kLanes + lane] : 0.f;
}

}  // namespace

void attention_backward_cpu(const float* query, const float* dout, const VisibleSpans* visible,
                            const KvGradients& prefix, const KvGradients& suffix,
                            std::int64_t head_dim, float scale, float* workspace,
                            float* dquery) noexcept {
  const std::int64_t stride = (head_dim + kLanes - 1) / kLanes * kLanes;
  Part parts[] = {Part(prefix, head_dim, visible, &VisibleSpans::prefix),
                  Part(suffix, head_dim, visible, &VisibleSpans::suffix)};
  float* const query_rows = workspace;
  float* const dout_rows = query_rows + kLanes * stride;
  float* free = dout_rows + kLanes * stride;
  for (Part& part : parts) {
    part.weights = free;
    part.slopes = free + part.count() * kLanes;
    free = part.slopes + part.count() * kLanes;
    each_tile(part.first, part.last,
              [&](std::int64_t t, auto tile) { score(part, t, query, dout, scale, tile); });
  }
  differentiate(parts, scale);
  each_tile(0, head_dim,
            [&](std::int64_t k, auto tile) { query_gradient(parts, k, dquery, tile); });
  to_rows(query, head_dim, stride, query_rows);
  to_rows(dout, head_dim, stride, dout_rows);
  for (const Part& part : parts)
    for (std::int64_t k = 0; k < stride; k += kLanes)
      each_tile(part.first, part.last, [&](std::int64_t t, auto tile) {
        spread(part, t, k, stride, query_rows, dout_rows, tile);
      });
}

}  // namespace r1::kernels::R1_ISA

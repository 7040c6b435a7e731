#include "kernels/common/attention_part.h"
#include "kernels/common/transpose.h"

namespace r1::kernels::R1_ISA {
namespace {

/// A part, its gains dout . value, then ds, and where its gradients go.
struct Gradient {
  Part part;
  const KvGradients& to;
  float* slopes = nullptr;  // [last - first, 16]

  std::int64_t blocks() const { return (part.count() + kLanes - 1) / kLanes; }
  float* slope(std::int64_t t) const { return slopes + (t - part.first) * kLanes; }
  /// Takes whole blocks of the workspace: positions behind the last weigh nothing.
  float* take(float* workspace) {
    const std::int64_t size = blocks() * kLanes * kLanes;
    part.weights = workspace;
    slopes = workspace + size;
    for (std::int64_t t = part.last; t < part.first + blocks() * kLanes; ++t) {
      store(part.weight(t), f32x16{});
      store(slope(t), f32x16{});
    }
    return slopes + size;
  }
};

/// Scores of positions t + T..., and gains.
template <int... T>
R1_INLINE void score(const Gradient& gradient, std::int64_t t, const float* query,
                     const float* dout, float scale, Indices<T...>) {
  const Part& part = gradient.part;
  const float* const keys = part.key(t);
  const float* const values = part.value(t);
  f32x16 scores[sizeof...(T)] = {}, gains[sizeof...(T)] = {};
  for (std::int64_t k = 0; k < part.head_dim; ++k) {
    const f32x16 q = load(query + k * kLanes), out = load(dout + k * kLanes);
    ((scores[T] += q * keys[k * kLanes + T], gains[T] += out * values[T * part.head_dim + k]), ...);
  }
  (part.keep(t + T, scores[T] * scale), ...);
  (store(gradient.slope(t + T), gains[T]), ...);
}

/// Turns scores into p and gains into ds, over both parts.
R1_INLINE void differentiate(const Gradient (&gradients)[2], float scale) {
  f32x16 largest = splat(-__builtin_inff()), sum{}, mean{};
  const auto each = [&](const auto& body) __attribute__((always_inline)) {
    for (const Gradient& gradient : gradients)
      for (std::int64_t t = gradient.part.first; t < gradient.part.last; ++t)
        body(gradient.part.weight(t), gradient.slope(t));
  };
  for (const Gradient& gradient : gradients) largest = gradient.part.largest_score(largest);
  each([&](float* weight, float*) {
    const f32x16 value = exp(load(weight) - largest);
    store(weight, value);
    sum += value;
  });
  const f32x16 inverse = splat(1.f) / sum;
  each([&](float* weight, float* slope) {
    const f32x16 p = load(weight) * inverse;
    store(weight, p);
    mean += p * load(slope);
  });
  each([&](float* weight, float* slope) {
    store(slope, load(weight) * (load(slope) - mean) * scale);
  });
}

/// Channels k + K... of the queries' gradient.
template <int... K>
R1_INLINE void query_gradient(const Gradient (&gradients)[2], std::int64_t k, float* dquery,
                              Indices<K...>) {
  f32x16 sums[sizeof...(K)] = {};
  for (const Gradient& gradient : gradients)
    for (std::int64_t t = gradient.part.first; t < gradient.part.last; ++t) {
      const f32x16 slope = load(gradient.slope(t));
      const float* const key = gradient.part.key(t) + k * kLanes;
      ((sums[K] += slope * key[K * kLanes]), ...);
    }
  (store(dquery + (k + K) * kLanes, sums[K]), ...);
}

/// Adds to channels k + K... of the gradients of 16 positions' keys and values.
///
/// @param weights, slopes  [lane, position]
template <int... K>
R1_INLINE void spread(const float* weights, const float* slopes, const float* query,
                      const float* dout, std::int64_t k, float* to_keys, float* to_values,
                      Indices<K...>) {
  query += k * kLanes;
  dout += k * kLanes;
  to_keys += k * kLanes;
  to_values += k * kLanes;
  f32x16 keys[] = {load(to_keys + K * kLanes)...}, values[] = {load(to_values + K * kLanes)...};
  for (std::int64_t lane = 0; lane < kLanes; ++lane) {
    const f32x16 slope = load(slopes + lane * kLanes), weight = load(weights + lane * kLanes);
    ((keys[K] += slope * query[K * kLanes + lane], values[K] += weight * dout[K * kLanes + lane]),
     ...);
  }
  ((store(to_keys + K * kLanes, keys[K]), store(to_values + K * kLanes, values[K])), ...);
}

}  // namespace

void attention_backward_cpu(const float* query, const float* dout, const KvLanes& prefix,
                            const KvLanes& suffix, std::int64_t head_dim, float scale,
                            float* workspace, const KvGradients& to_prefix,
                            const KvGradients& to_suffix, float* dquery) noexcept {
  Gradient gradients[] = {{Part(prefix, head_dim), to_prefix}, {Part(suffix, head_dim), to_suffix}};
  float* const weights = workspace;
  float* const slopes = weights + kLanes * kLanes;
  float* free = slopes + kLanes * kLanes;
  for (Gradient& gradient : gradients) {
    free = gradient.take(free);
    each_tile<kTile>(gradient.part.first, gradient.part.last, [&](std::int64_t t, auto tile) {
      score(gradient, t, query, dout, scale, tile);
    });
  }
  differentiate(gradients, scale);
  each_tile<kTile>(0, head_dim,
                   [&](std::int64_t k, auto tile) { query_gradient(gradients, k, dquery, tile); });
  for (const Gradient& gradient : gradients)
    for (std::int64_t block = 0; block < gradient.blocks(); ++block) {
      const std::int64_t first = gradient.part.first + block * kLanes;
      transpose(gradient.part.weight(first), kLanes, weights, kLanes);
      transpose(gradient.slope(first), kLanes, slopes, kLanes);
      float* const to_keys = gradient.to.keys + first * head_dim;
      float* const to_values = gradient.to.values + first * head_dim;
      each_tile<kTile>(0, head_dim, [&](std::int64_t k, auto tile) {
        spread(weights, slopes, query, dout, k, to_keys, to_values, tile);
      });
    }
}

}  // namespace r1::kernels::R1_ISA

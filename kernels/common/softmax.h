#pragma once
#include <math.h>

#include "kernels/common/simd.h"

/// What a row of logits, float or bf16, says about its softmax, in float; shared by the sampler and
/// the scorer, so that both report the same bits for the same logits.
namespace r1::kernels::R1_ISA {

constexpr std::int64_t kSlice = 1024;  // logits per partial sum, a multiple of kLanes

struct SoftmaxRow {
  float max;            // of the logits
  double sum;           // of exp(z), z = (logit - max) * scale: exactly 1 at the maximum
  double weighted_sum;  // of exp(z) * z; 0 where the exponential is 0
};

/// Logits of one vector against their row's maximum.
struct Weighed {
  f32x16 z;       // (logit - max) * scale, held at the low end of what has a weight
  f32x16 weight;  // exp(z); 0 below that end
};

R1_INLINE Weighed weigh(const f32x16& logits, float scale, float max) {
  const f32x16 z = (logits - max) * scale, low = splat(kExpLow);
  const i32x16 below = z < low;
  const f32x16 held = select(below, low, z);
  return {held, select(below, f32x16{}, exp_in_range(held))};
}

/// Running sums of a slice, one per lane.
struct SliceSums {
  f32x16 weights;
  f32x16 products;  // exp(z) * z; 0 where the exponential is 0
};

R1_INLINE void add(SliceSums& sums, const Weighed& weighed) {
  sums.weights += weighed.weight;
  sums.products += weighed.weight * weighed.z;
}

/// @param weights  [count] or null: the exponentials; may be `logits` itself
template <class Element>
R1_INLINE SliceSums sum_slice(const Element* logits, std::int64_t count, float scale, float max,
                              float* weights) {
  SliceSums sums{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Weighed weighed = weigh(load(logits + i), scale, max);
    add(sums, weighed);
    if (weights) store(weights + i, weighed.weight);
  }
  if (i == count) return sums;
  const Weighed tail = weigh(load_partial(logits + i, count - i, -__builtin_inff()), scale, max);
  add(sums, tail);
  if (weights) store_partial(weights + i, tail.weight, count - i);
  return sums;
}

/// NaN is passed over here; it shows in the sums.
template <class Element>
R1_INLINE float row_max(const Element* logits, std::int64_t vocab) {
  f32x16 largest = splat(-__builtin_inff());
  std::int64_t i = 0;
  for (; i + kLanes <= vocab; i += kLanes) largest = max(load(logits + i), largest);
  if (i < vocab) largest = max(load_partial(logits + i, vocab - i, -__builtin_inff()), largest);
  return horizontal_max(largest);
}

/// @param slice_sums  [ceil(vocab / kSlice)] or null: the sums of the slices, for the sampler
/// @param weights     [vocab] or null: the exponentials; may be `logits` itself
template <class Element>
R1_INLINE SoftmaxRow softmax_row(const Element* logits, std::int64_t vocab, float scale,
                                 float* slice_sums, float* weights) {
  SoftmaxRow row{row_max(logits, vocab), 0, 0};
  for (std::int64_t begin = 0; begin < vocab; begin += kSlice) {
    const std::int64_t count = vocab - begin < kSlice ? vocab - begin : kSlice;
    const SliceSums slice =
        sum_slice(logits + begin, count, scale, row.max, weights ? weights + begin : nullptr);
    const float sum = horizontal_sum(slice.weights);
    if (slice_sums) slice_sums[begin / kSlice] = sum;
    row.sum += static_cast<double>(sum);
    row.weighted_sum += static_cast<double>(horizontal_sum(slice.products));
  }
  return row;
}

R1_INLINE float logprob_of(const SoftmaxRow& row, float logit, float scale) {
  return static_cast<float>(static_cast<double>((logit - row.max) * scale) - ::log(row.sum));
}

R1_INLINE float entropy_of(const SoftmaxRow& row) {
  return static_cast<float>(::log(row.sum) - row.weighted_sum / row.sum);
}

}  // namespace r1::kernels::R1_ISA

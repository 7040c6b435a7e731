#pragma once
#include <math.h>

#include "kernels/common/simd.h"

/// What a row of logits says about its softmax; shared by the sampler and the scorer, so that both
/// report the same bits for the same logits.
namespace r1::kernels::R1_ISA {

constexpr std::int64_t kSlice = 1024;  // logits per partial sum, a multiple of kLanes

struct SoftmaxRow {
  float max;            // of logit * scale
  double sum;           // of exp(logit * scale - max)
  double weighted_sum;  // of exp(z - max) * (z - max); 0 where the exponential is 0
};

/// Sum of one slice, [from, from + count) of a row; `weighted` gets the entropy's part.
R1_INLINE float slice_sum(const float* logits, std::int64_t count, float scale, float max,
                          float& weighted) {
  const float nothing = -__builtin_inff();
  f32x16 sum{}, products{};
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const f32x16 z =
        i + kLanes <= count ? load(logits + i) : load_partial(logits + i, count - i, nothing);
    const f32x16 shifted = z * scale - max;
    const f32x16 weight = exp(shifted);
    sum += weight;
    products += select(weight == f32x16{}, f32x16{}, weight * shifted);  // 0 * -inf counts as 0
  }
  weighted = horizontal_sum(products);
  return horizontal_sum(sum);
}

R1_INLINE float row_max(const float* logits, std::int64_t vocab) {
  const float nothing = -__builtin_inff();
  f32x16 largest = splat(nothing);
  for (std::int64_t i = 0; i < vocab; i += kLanes)
    largest =
        max(i + kLanes <= vocab ? load(logits + i) : load_partial(logits + i, vocab - i, nothing),
            largest);
  return horizontal_max(largest);
}

/// @param slice_sums  [ceil(vocab / kSlice)] or null: the sums of the slices, for the sampler
R1_INLINE SoftmaxRow softmax_row(const float* logits, std::int64_t vocab, float scale,
                                 float* slice_sums) {
  SoftmaxRow row{row_max(logits, vocab) * scale, 0, 0};
  for (std::int64_t begin = 0; begin < vocab; begin += kSlice) {
    const std::int64_t count = vocab - begin < kSlice ? vocab - begin : kSlice;
    float weighted;
    const float sum = slice_sum(logits + begin, count, scale, row.max, weighted);
    if (slice_sums) slice_sums[begin / kSlice] = sum;
    row.sum += static_cast<double>(sum);
    row.weighted_sum += static_cast<double>(weighted);
  }
  return row;
}

R1_INLINE float logprob_of(const SoftmaxRow& row, float logit, float scale) {
  return static_cast<float>(static_cast<double>(logit * scale - row.max) - ::log(row.sum));
}

R1_INLINE float entropy_of(const SoftmaxRow& row) {
  return static_cast<float>(::log(row.sum) - row.weighted_sum / row.sum);
}

}  // namespace r1::kernels::R1_ISA

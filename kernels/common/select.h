#pragma once
#include <math.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "kernels/common/softmax.h"

/// Exact selection of the largest logits of a row until they measure enough: each 1 (top-k) or its
/// weight (top-p). Vector passes over the weights close in on the boundary; the few tokens around
/// it are then sorted out by the bits of their logits, ties by lowest id. How close the passes come
/// changes the time and nothing else.
namespace r1::kernels::R1_ISA {

/// The tokens kept: every logit above `logit`, and those equal to it up to id `last_tie`.
struct Threshold {
  float logit;
  std::int64_t last_tie;
};

/// The boundary lies among the tokens of weights in (low, high].
struct Bracket {
  float low, high;
};

/// What a token counts towards the amount needed.
enum class Measure { one, weight };

R1_INLINE unsigned bits_of(const i32x16& condition) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)condition.part[0]);
#elif defined(__AVX2__)
  return static_cast<unsigned>(_mm256_movemask_ps((__m256)condition.part[0])) |
         static_cast<unsigned>(_mm256_movemask_ps((__m256)condition.part[1])) << 8;
#else
  unsigned bits = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    bits |= (condition.part[lane / kPartLanes][lane % kPartLanes] & 1u) << lane;
  return bits;
#endif
}

/// Half a register of floats, and as many doubles.
typedef float HalfRegister __attribute__((vector_size(kRegisterBytes / 2), aligned(4), may_alias));
typedef double DoubleRegister __attribute__((vector_size(kRegisterBytes)));
constexpr int kHalves = 2 * kParts;
constexpr int kHalfLanes = kPartLanes / 2;

/// Sixteen sums in double.
struct DoubleSums {
  DoubleRegister half[kHalves];

  double total() const {
    double sum = 0;
    for (int i = 0; i < kHalves; ++i)
      for (int lane = 0; lane < kHalfLanes; ++lane) sum += half[i][lane];
    return sum;
  }
};

constexpr int kPivots = 4;

/// How far off, relatively, a sum of `measure_above` may be: 2^-24, here doubled to be safe, for
/// each addition that a weight goes through: in its slice, over the slices and over the lanes. A
/// bound as tight as this matters where top-p leaves little out.
R1_INLINE double rounding_of(std::int64_t padded) {
  return static_cast<double>(kSlice / kLanes + padded / kSlice + 4) * 0x1p-23;
}

/// How much the weights above each pivot measure, in float: by slices, which keeps the rounding
/// small.
template <Measure M>
void measure_above(const float* weights, std::int64_t padded, const float* pivots, float* above) {
  f32x16 sums[kPivots] = {};
  for (std::int64_t begin = 0; begin < padded; begin += kSlice) {
    const std::int64_t end = padded < begin + kSlice ? padded : begin + kSlice;
    f32x16 slice[kPivots] = {};
    for (std::int64_t i = begin; i < end; i += kLanes) {
      const f32x16 weight = load(weights + i);
      const f32x16 amount = M == Measure::one ? splat(1.f) : weight;
#pragma GCC unroll 4
      for (int p = 0; p < kPivots; ++p)
        slice[p] += select(weight > splat(pivots[p]), amount, f32x16{});
    }
    for (int p = 0; p < kPivots; ++p) sums[p] += slice[p];
  }
  for (int p = 0; p < kPivots; ++p) above[p] = horizontal_sum(sums[p]);
}

/// Divides the bracket by a constant ratio three times. Where rounding leaves it open on which side
/// of a pivot the boundary lies, the bracket stays wider.
template <Measure M>
Bracket close_in(const float* weights, std::int64_t padded, double needed, Bracket bracket) {
  const double rounding = rounding_of(padded);
  for (int pass = 0; pass < 3; ++pass) {
    const float ratio = ::powf(bracket.low / bracket.high, 1.f / (kPivots + 1));
    if (!(ratio < 0.999f)) break;
    float pivots[kPivots], above[kPivots];
    for (int p = 0; p < kPivots; ++p) pivots[p] = (p ? pivots[p - 1] : bracket.high) * ratio;
    measure_above<M>(weights, padded, pivots, above);
    for (int p = 0; p < kPivots; ++p) {
      const double least = static_cast<double>(above[p]) * (1 - rounding);
      const double most = static_cast<double>(above[p]) * (1 + rounding);
      if (most < needed) bracket.high = pivots[p];
      if (least > needed) {
        bracket.low = pivots[p];
        break;
      }
    }
  }
  // A hair wider: the exponential may be off by an ulp either way, so that a weight at the edge may
  // belong to a logit from beyond it.
  return {bracket.low * (1 - 1e-6f), bracket.high * (1 + 1e-6f)};
}

struct Collected {
  std::int64_t count;  // of candidates
  double above;        // measure of the tokens above the bracket
};

/// The ids of the tokens in the bracket, in order.
template <Measure M>
Collected collect(const float* weights, std::int64_t padded, Bracket bracket, std::int32_t* ids) {
  std::int64_t count = 0, ones = 0;
  DoubleSums sums{};
  for (std::int64_t i = 0; i < padded; i += kLanes) {
    const f32x16 weight = load(weights + i);
    const unsigned above = bits_of(weight > splat(bracket.high));
    unsigned inside = bits_of(weight > splat(bracket.low)) & ~above;
    for (; inside; inside &= inside - 1)
      ids[count++] = static_cast<std::int32_t>(i + __builtin_ctz(inside));
    if (!above) continue;
    if (M == Measure::one) {
      ones += __builtin_popcount(above);
      continue;
    }
    for (int h = 0; h < kHalves; ++h) {
      const HalfRegister part =
          *reinterpret_cast<const HalfRegister*>(weights + i + h * kHalfLanes);
      const HalfRegister kept = part > bracket.high ? part : HalfRegister{};
      sums.half[h] += __builtin_convertvector(kept, DoubleRegister);
    }
  }
  return {count, M == Measure::one ? static_cast<double>(ones) : sums.total()};
}

/// Order-preserving bits: a < b as floats exactly if key(a) < key(b); -0 and 0 are equal.
R1_INLINE std::uint32_t key_of(float value) {
  std::uint32_t bits;
  const float positive_zero = value + 0.f;
  __builtin_memcpy(&bits, &positive_zero, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// The candidates to choose from.
template <class Element>
struct Candidates {
  const Element* logits;
  const float* weights;
  const std::int32_t* ids;
  std::int64_t count;

  std::uint32_t key(std::int64_t i) const { return key_of(widen(logits[ids[i]])); }
  template <Measure M>
  double measure(std::int64_t i) const {
    return M == Measure::one ? 1. : static_cast<double>(weights[ids[i]]);
  }
};

/// The smallest set of largest candidates that measures `needed`, all of them if they do not:
/// radix selection, eight bits of the keys at a time from the top.
template <Measure M, class Element>
Threshold choose(const Candidates<Element>& candidates, double needed) {
  std::uint32_t prefix = 0;
  double above = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    double histogram[256] = {};
    for (std::int64_t i = 0; i < candidates.count; ++i) {
      const std::uint32_t key = candidates.key(i);
      if (shift == 24 || (key >> (shift + 8)) == (prefix >> (shift + 8)))
        histogram[key >> shift & 255] += candidates.template measure<M>(i);
    }
    int bucket = 255, lowest = 255;
    for (; bucket >= 0; --bucket) {
      if (histogram[bucket] == 0) continue;
      lowest = bucket;
      if (above + histogram[bucket] >= needed) break;
      above += histogram[bucket];
    }
    if (bucket < 0) above -= histogram[lowest];  // everything is needed: end at the smallest key
    prefix |= static_cast<std::uint32_t>(lowest) << shift;
  }
  Threshold threshold{-__builtin_inff(), -1};
  for (std::int64_t i = 0; i < candidates.count; ++i) {
    if (candidates.key(i) != prefix) continue;
    if (threshold.last_tie >= 0 && above >= needed) break;
    threshold = {widen(candidates.logits[candidates.ids[i]]), candidates.ids[i]};
    above += candidates.template measure<M>(i);
  }
  return threshold;
}

/// @param weights  [padded], exponentials of the logits, 0 beyond the row and for dropped tokens
/// @param bracket  where the boundary is known to lie
/// @param ids      [padded], workspace
template <Measure M, class Element>
Threshold select_top(const Element* logits, const float* weights, std::int64_t padded,
                     double needed, Bracket bracket, std::int32_t* ids) {
  bracket = close_in<M>(weights, padded, needed, bracket);
  const Collected collected = collect<M>(weights, padded, bracket, ids);
  const Candidates<Element> candidates{logits, weights, ids, collected.count};
  return choose<M>(candidates, needed - collected.above);
}

}  // namespace r1::kernels::R1_ISA

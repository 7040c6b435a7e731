#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

/// Sixteen float lanes on the compiler's vector extension, whatever the instruction set: a level
/// with narrower registers splits them, so sums have one order and AVX2 and AVX-512 equal bits.
namespace r1::kernels::R1_ISA {

constexpr int kLanes = 16;
typedef float f32x16 __attribute__((vector_size(64)));
typedef std::int32_t i32x16 __attribute__((vector_size(64)));

#define R1_INLINE [[gnu::always_inline]] static inline

R1_INLINE f32x16 splat(float value) { return value - f32x16{}; }

R1_INLINE f32x16 load(const float* from) {
  f32x16 lanes;
  __builtin_memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

/// The first `count` < 16 lanes from memory, `fill` in the others.
R1_INLINE f32x16 load_partial(const float* from, std::int64_t count, float fill) {
  f32x16 lanes = splat(fill);
  for (std::int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return lanes;
}

R1_INLINE void store(float* to, f32x16 lanes) { __builtin_memcpy(to, &lanes, sizeof lanes); }

R1_INLINE f32x16 select(i32x16 condition, f32x16 yes, f32x16 no) {
  return reinterpret_cast<f32x16>((reinterpret_cast<i32x16>(yes) & condition) |
                                  (reinterpret_cast<i32x16>(no) & ~condition));
}

R1_INLINE f32x16 max(f32x16 a, f32x16 b) { return select(a > b, a, b); }

/// Pairwise, lane i with lane i + 8, then + 4, + 2, + 1.
R1_INLINE float horizontal_sum(f32x16 lanes) {
  float sums[kLanes];
  store(sums, lanes);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
  return sums[0];
}

R1_INLINE float horizontal_max(f32x16 lanes) {
  float largest = lanes[0];
  for (int i = 1; i < kLanes; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
  return largest;
}

/// e^x within 2 ulp for x in [-87.3, 88.7]; exactly 0 below (also for -inf), NaN stays NaN.
/// x = n ln 2 + r with |r| <= ln 2 / 2, then the degree-6 polynomial of e^r, then 2^n.
R1_INLINE f32x16 exp(f32x16 x) {
  const f32x16 clamped =
      select(x < splat(-87.3f), splat(-87.3f), select(x > splat(88.7f), splat(88.7f), x));
  const f32x16 magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to the nearest integer
  const f32x16 shifted = clamped * 1.44269504f + magic;
  const f32x16 n = shifted - magic;
  f32x16 r = clamped - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  f32x16 p = splat(1.38888889e-3f);
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const i32x16 exponent = (reinterpret_cast<i32x16>(shifted) - 0x4B400000 + 127) << 23;
  const f32x16 result = p * reinterpret_cast<f32x16>(exponent);
  return select(x < splat(-87.3f), f32x16{}, select(x != x, x, result));
}

R1_INLINE float exp(float x) { return exp(splat(x))[0]; }

}  // namespace r1::kernels::R1_ISA

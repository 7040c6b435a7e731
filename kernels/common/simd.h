#pragma once
#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/isa.h"

/// Sixteen float lanes on the compiler's vector extension. A level with narrower registers holds
/// them in several (left to the compiler, GCC 12 would take a 64-byte vector apart lane by lane),
/// so sums have one order at every level and AVX2 and AVX-512 give equal bits.
namespace r1::kernels::R1_ISA {

#define R1_INLINE [[gnu::always_inline]] static inline

constexpr int kLanes = 16;
#if defined(__AVX512F__)
constexpr int kRegisterBytes = 64;
#elif defined(__AVX2__)
constexpr int kRegisterBytes = 32;
#else
constexpr int kRegisterBytes = 16;
#endif
constexpr int kParts = 64 / kRegisterBytes;
typedef float FloatRegister __attribute__((vector_size(kRegisterBytes)));
typedef std::int32_t IntRegister __attribute__((vector_size(kRegisterBytes)));
typedef std::uint32_t BitsRegister __attribute__((vector_size(kRegisterBytes)));
/// A register's worth of floats anywhere in memory.
typedef float FloatMemory __attribute__((vector_size(kRegisterBytes), aligned(4), may_alias));
/// As many bfloat16 values as a register holds floats, anywhere in memory.
typedef std::uint16_t HalfMemory
    __attribute__((vector_size(kRegisterBytes / 2), aligned(2), may_alias));
constexpr int kPartLanes = kLanes / kParts;

R1_INLINE FloatRegister load_register(const float* from) {
  return *reinterpret_cast<const FloatMemory*>(from);
}

R1_INLINE void store_register(float* to, FloatRegister lanes) {
  *reinterpret_cast<FloatMemory*>(to) = lanes;
}

R1_INLINE FloatRegister load_register(const bf16* from) {
  const HalfMemory halves = *reinterpret_cast<const HalfMemory*>(from);
  return (FloatRegister)(__builtin_convertvector(halves, BitsRegister) << 16);
}

/// To the nearest bfloat16, ties to even, as torch rounds; NaN stays NaN.
R1_INLINE void store_register(bf16* to, FloatRegister lanes) {
  const BitsRegister bits = (BitsRegister)lanes;
  const BitsRegister rounded = (bits + (0x7FFFu + (bits >> 16 & 1))) >> 16;
  const BitsRegister nan = (BitsRegister)(lanes != lanes);
  *reinterpret_cast<HalfMemory*>(to) =
      __builtin_convertvector((rounded & ~nan) | (0x7FC0u & nan), HalfMemory);
}

/// Compile-time indices. Folds over them unroll before g++ decides what lives in registers, which a
/// loop over an array of accumulators does not.
template <int... I>
struct Indices {};
template <int N, int... I>
struct UpTo : UpTo<N - 1, N - 1, I...> {};
template <int... I>
struct UpTo<0, I...> : Indices<I...> {};

struct f32x16 {
  FloatRegister part[kParts];
};
/// Integers, or the outcome of a comparison: all bits set in the lanes where it holds.
struct i32x16 {
  IntRegister part[kParts];
};

#define R1_EACH_PART(result, expression)                                                    \
  _Pragma("GCC unroll 4") for (int i = 0; i < kParts; ++i) { result.part[i] = expression; } \
  return result
#define R1_LANEWISE(Result, Register, op)                                \
  R1_INLINE Result operator op(const f32x16& a, const f32x16& b) {       \
    Result result;                                                       \
    R1_EACH_PART(result, (Register)(a.part[i] op b.part[i]));            \
  }                                                                      \
  R1_INLINE Result operator op(const f32x16& a, float b) {               \
    Result result;                                                       \
    R1_EACH_PART(result, (Register)(a.part[i] op(b - FloatRegister{}))); \
  }
R1_LANEWISE(f32x16, FloatRegister, +)
R1_LANEWISE(f32x16, FloatRegister, -)
R1_LANEWISE(f32x16, FloatRegister, *)
R1_LANEWISE(f32x16, FloatRegister, /)
R1_LANEWISE(i32x16, IntRegister, <)
R1_LANEWISE(i32x16, IntRegister, >)
R1_LANEWISE(i32x16, IntRegister, ==)
R1_LANEWISE(i32x16, IntRegister, !=)
#undef R1_LANEWISE

R1_INLINE f32x16 operator-(const f32x16& a) {
  f32x16 result;
  R1_EACH_PART(result, -a.part[i]);
}

R1_INLINE f32x16& operator+=(f32x16& a, const f32x16& b) { return a = a + b; }

R1_INLINE f32x16 splat(float value) {
  f32x16 result;
  R1_EACH_PART(result, value - FloatRegister{});
}

/// From float or bf16.
template <class Element>
R1_INLINE f32x16 load(const Element* from) {
  f32x16 result;
  R1_EACH_PART(result, load_register(from + i * kPartLanes));
}

template <class Element>
R1_INLINE void store(Element* to, const f32x16& lanes) {
  for (int i = 0; i < kParts; ++i) store_register(to + i * kPartLanes, lanes.part[i]);
}

/// The first `count` < 16 lanes from memory, `fill` in the others.
template <class Element>
R1_INLINE f32x16 load_partial(const Element* from, std::int64_t count, float fill) {
  float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = i < count ? widen(from[i]) : fill;
  return load(lanes);
}

template <class Element>
R1_INLINE void store_partial(Element* to, const f32x16& values, std::int64_t count) {
  Element lanes[kLanes];
  store(lanes, values);
  for (std::int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

R1_INLINE f32x16 select(const i32x16& condition, const f32x16& yes, const f32x16& no) {
  f32x16 result;
  R1_EACH_PART(result, condition.part[i] ? yes.part[i] : no.part[i]);
}

/// `b` where either is NaN.
R1_INLINE f32x16 max(const f32x16& a, const f32x16& b) { return select(a > b, a, b); }

/// Lane i + Step of a register in lane i, around its end.
template <int Step, int... I>
R1_INLINE FloatRegister rotated(FloatRegister lanes, Indices<I...>) {
  return __builtin_shufflevector(lanes, lanes, (I + Step) % kPartLanes...);
}

/// Lane i with lane i + 8, then + 4, + 2, + 1.
template <class Combine>
R1_INLINE float reduce(const f32x16& lanes, const Combine& combine) {
  FloatRegister x = lanes.part[0];
  if constexpr (kParts == 2) x = combine(x, lanes.part[1 % kParts]);
  if constexpr (kParts == 4)
    x = combine(combine(x, lanes.part[2 % kParts]),
                combine(lanes.part[1 % kParts], lanes.part[3 % kParts]));
  constexpr UpTo<kPartLanes> kAll{};
  if constexpr (kPartLanes > 8) x = combine(x, rotated<8>(x, kAll));
  if constexpr (kPartLanes > 4) x = combine(x, rotated<4>(x, kAll));
  x = combine(x, rotated<2>(x, kAll));
  return combine(x, rotated<1>(x, kAll))[0];
}

R1_INLINE float horizontal_sum(const f32x16& lanes) {
  return reduce(
      lanes, [](FloatRegister a, FloatRegister b) __attribute__((always_inline)) { return a + b; });
}

R1_INLINE float horizontal_max(const f32x16& lanes) {
  return reduce(lanes, [](FloatRegister a, FloatRegister b)
                           __attribute__((always_inline)) { return a > b ? a : b; });
}

/// 2^n for the whole number n in the low bits of `n + 1.5 * 2^23`, n in [-126, 127].
R1_INLINE f32x16 power_of_two(const f32x16& shifted) {
  f32x16 result;
  R1_EACH_PART(result, (FloatRegister)(((IntRegister)shifted.part[i] - 0x4B400000 + 127) << 23));
}

/// e^x within 1.5 ulp for x in [-87.3, 88.3], exactly 1 at 0; NaN stays NaN.
/// x = n ln 2 + r with |r| <= ln 2 / 2, then 1 + r + r^2 P(r) (Cephes' expf), then 2^n.
R1_INLINE f32x16 exp_in_range(const f32x16& x) {
  constexpr float kMagic = 12582912.f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  const f32x16 shifted = x * 1.44269504f + kMagic;
  const f32x16 n = shifted - kMagic;
  f32x16 r = x - n * 0.693145752f;  // few bits: the product is exact
  r = r - n * 1.42860677e-6f;
  f32x16 p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r;
  p = p + 1.0f;
  return p * power_of_two(shifted);
}

constexpr float kExpLow = -87.3f, kExpHigh = 88.3f;

/// The same for any x: exactly 0 below the range (also for -inf), held at its end above it.
R1_INLINE f32x16 exp(const f32x16& x) {
  const f32x16 low = splat(kExpLow), high = splat(kExpHigh);
  const f32x16 clamped = select(x < low, low, select(x > high, high, x));
  return select(x < low, f32x16{}, exp_in_range(clamped));
}

#undef R1_EACH_PART

}  // namespace r1::kernels::R1_ISA

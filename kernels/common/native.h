#pragma once
#include <cstdint>

#include "kernels/common/isa.h"
#include "kernels/common/simd.h"

/// The widest vector that one register holds. Accumulators that live across a loop use it: g++
/// keeps a wider vector on the stack. A panel of 16 lanes is kPerPanel of them, and lanes never
/// mix, so the width changes no bit.
namespace r1::kernels::R1_ISA {

#if defined(__AVX512F__)
constexpr int kNative = 16;
#elif defined(__AVX__)
constexpr int kNative = 8;
#else
constexpr int kNative = 4;
#endif
constexpr int kPerPanel = kLanes / kNative;
typedef float fnative __attribute__((vector_size(kNative * 4)));

R1_INLINE fnative load_native(const float* from) {
  fnative lanes;
  __builtin_memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

R1_INLINE void store_native(float* to, fnative lanes) {
  __builtin_memcpy(to, &lanes, sizeof lanes);
}

/// Compile-time indices: folds over them unroll before g++ decides what lives in registers, which a
/// loop over an array of accumulators does not.
template <int... I>
struct Indices {};

}  // namespace r1::kernels::R1_ISA

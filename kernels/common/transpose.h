#pragma once
#include "kernels/common/simd.h"

/// Transposition of 16 x 16 floats in registers.
namespace r1::kernels::R1_ISA {

/// Stage S: lanes with bit S change places with those without it, in the register S further on.
template <int S, int... J>
R1_INLINE void exchange(FloatRegister& a, FloatRegister& b, Indices<J...>) {
  const FloatRegister first = __builtin_shufflevector(a, b, (J & S ? kPartLanes + J - S : J)...);
  b = __builtin_shufflevector(a, b, (J & S ? kPartLanes + J : J + S)...);
  a = first;
}

/// Runs over register pairs (i, i + S).
template <int S, int... I>
R1_INLINE void exchange_all(FloatRegister* x, Indices<I...>) {
  ((I & S ? void() : exchange<S>(x[I], x[I | S], UpTo<kPartLanes>{})), ...);
}

/// As many rows as a register has lanes, by as many columns.
template <int... I>
R1_INLINE void transpose_part(const float* from, std::int64_t from_pitch, float* to,
                              std::int64_t to_pitch, Indices<I...> all) {
  FloatRegister block[] = {load_register(from + I * from_pitch)...};
  exchange_all<1>(block, all);
  exchange_all<2>(block, all);
  if constexpr (kPartLanes > 4) exchange_all<4 % kPartLanes>(block, all);
  if constexpr (kPartLanes > 8) exchange_all<8 % kPartLanes>(block, all);
  (store_register(to + I * to_pitch, block[I]), ...);
}

/// to[j, i] = from[i, j] for i, j < 16; a row begins `pitch` floats after the one before.
R1_INLINE void transpose(const float* from, std::int64_t from_pitch, float* to,
                         std::int64_t to_pitch) {
  for (int i = 0; i < kLanes; i += kPartLanes)
    for (int j = 0; j < kLanes; j += kPartLanes)
      transpose_part(from + i * from_pitch + j, from_pitch, to + j * to_pitch + i, to_pitch,
                     UpTo<kPartLanes>{});
}

}  // namespace r1::kernels::R1_ISA

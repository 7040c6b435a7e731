#pragma once
#include "kernels/common/cuda.cuh"
#include "kernels/common/rows.h"

/// Eight elements as they lie in memory. A kernel first loads all that it needs, then unpacks: so
/// its loads are in flight together, and a row of bfloat16 is held in half the registers.
///
/// `Whole` says that vectors are aligned to 16 bytes and never cut by the end of a row; else they
/// are read and written by elements. Both ways give the same bits.
namespace r1::kernels {

template <class Element>
struct Packed;
template <>
struct Packed<float> {
  float4 low, high;
};
template <>
struct Packed<bf16> {
  uint4 bits;
};

__device__ inline Packed<float> pack(const float (&x)[kVector], float) {
  return {make_float4(x[0], x[1], x[2], x[3]), make_float4(x[4], x[5], x[6], x[7])};
}

__device__ inline Packed<bf16> pack(const float (&x)[kVector], bf16) {
  return {make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]), pack_bf16(x[4], x[5]),
                     pack_bf16(x[6], x[7]))};
}

/// Rounded to the nearest element.
template <class Element>
__device__ Packed<Element> pack(const float (&x)[kVector]) {
  return pack(x, Element{});
}

__device__ inline void unpack(const Packed<float>& packed, float (&x)[kVector]) {
  x[0] = packed.low.x, x[1] = packed.low.y, x[2] = packed.low.z, x[3] = packed.low.w;
  x[4] = packed.high.x, x[5] = packed.high.y, x[6] = packed.high.z, x[7] = packed.high.w;
}

__device__ inline void unpack(const Packed<bf16>& packed, float (&x)[kVector]) {
  const unsigned pairs[] = {packed.bits.x, packed.bits.y, packed.bits.z, packed.bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x[2 * i] = __uint_as_float(pairs[i] << 16);
    x[2 * i + 1] = __uint_as_float(pairs[i] & 0xFFFF0000u);
  }
}

__device__ inline Packed<float> load_aligned(const float* from) {
  return {reinterpret_cast<const float4*>(from)[0], reinterpret_cast<const float4*>(from)[1]};
}
__device__ inline Packed<bf16> load_aligned(const bf16* from) {
  return {*reinterpret_cast<const uint4*>(from)};
}
__device__ inline void store_aligned(float* to, const Packed<float>& packed) {
  reinterpret_cast<float4*>(to)[0] = packed.low;
  reinterpret_cast<float4*>(to)[1] = packed.high;
}
__device__ inline void store_aligned(bf16* to, const Packed<bf16>& packed) {
  *reinterpret_cast<uint4*>(to) = packed.bits;
}

/// What is there of eight elements, `left` of which the row still has; 0 in the place of others.
template <bool Whole, class Element>
__device__ Packed<Element> load_packed(const Element* from, std::int64_t left) {
  if constexpr (Whole) {
    Packed<Element> packed{};
    if (left > 0) packed = load_aligned(from);
    return packed;
  } else {
    float x[kVector];
#pragma unroll
    for (int i = 0; i < kVector; ++i) x[i] = i < left ? to_float(from[i]) : 0.f;
    return pack<Element>(x);
  }
}

template <bool Whole, class Element>
__device__ void store_packed(Element* to, std::int64_t left, const Packed<Element>& packed) {
  if constexpr (Whole) {
    if (left > 0) store_aligned(to, packed);
  } else {
    float x[kVector];
    unpack(packed, x);
#pragma unroll
    for (int i = 0; i < kVector; ++i)
      if (i < left) to[i] = from_float<Element>(x[i]);
  }
}

/// Whether vectors from `data` on, `stride` elements from row to row, are aligned; null is.
template <class Element>
bool fits_vectors(const Element* data, std::int64_t stride) {
  return !data || is_aligned(data, stride);
}
template <class Element>
bool fits_vectors(const Rows<Element>& all) {
  return fits_vectors(all.data, all.stride);
}
template <class Element>
bool fits_vectors(const Heads<Element>& all) {
  return fits_vectors(all.data, all.token_stride) && fits_vectors(all.data, all.head_stride);
}

}  // namespace r1::kernels

#pragma once
#include <cuda_pipeline.h>

#include "kernels/common/softmax.cuh"

/// Slices copied into shared memory while a warp computes.
namespace r1::kernels {

/// Starts this warp's copies of a slice of `count` logits and -inf beyond, none if that is 0, as
/// one group of each lane's. Lanes copy 16 bytes beside each other's, so that a line is asked for
/// once; they read what others copied, after `wait_for_slice`.
template <class Element>
__device__ void copy_slice(const Element* from, int count, bool aligned, Element* to) {
  constexpr int kPerCopy = 16 / sizeof(Element), kCopies = kSlice / (kWarp * kPerCopy);
  const int lane = lane_of_thread();
  if (aligned && count == kSlice) {
#pragma unroll
    for (int c = 0; c < kCopies; ++c) {
      const int at = (c * kWarp + lane) * kPerCopy;
      __pipeline_memcpy_async(to + at, from + at, 16);
    }
  } else if (count > 0) {
    // The end of a row that is aligned, too: what is cut there waits for memory once, not per line.
    const int whole = aligned ? count / kPerCopy * kPerCopy : 0;
    for (int at = lane * kPerCopy; at < whole; at += kWarp * kPerCopy)
      __pipeline_memcpy_async(to + at, from + at, 16);
    for (int i = whole + lane; i < kSlice; i += kWarp)
      to[i] = i < count ? from[i] : from_float<Element>(-kInfinity);
  }
  __pipeline_commit();
}

/// Until all but the `later` latest slices of this warp are there.
__device__ inline void wait_for_slice(int later) {
  __pipeline_wait_prior(static_cast<std::size_t>(later));
  __syncwarp();
}

/// This lane's part of a copied slice.
template <class Element>
__device__ void read_slice(const Element* slice, float (&x)[kSliceVectors][kVector]) {
#pragma unroll
  for (int v = 0; v < kSliceVectors; ++v)
    load_whole(slice + (v * kWarp + lane_of_thread()) * kVector, x[v]);
}

/// Slices under way or in use at a time, of each warp.
template <class Element>
constexpr int kRing = sizeof(Element) == 2 ? 3 : 2;

/// Bytes of shared memory for the rings of a block.
template <class Element>
R1_HOST_DEVICE constexpr std::size_t ring_bytes(int warps) {
  return static_cast<std::size_t>(warps) * kRing<Element> * kSlice * sizeof(Element);
}

}  // namespace r1::kernels

#pragma once
#include "kernels/common/copy.cuh"

/// A row of logits as a block reads it, slice by slice, and a draw from one of its slices.
namespace r1::kernels {

template <class Element>
struct Row {
  const Element* logits;
  int vocab, slices;
  bool aligned;
  float scale;

  __device__ Row(const Element* all, std::int64_t row, int vocab, float scale)
      : logits(all + row * vocab),
        vocab(vocab),
        slices(static_cast<int>(ceil_div(vocab, kSlice))),
        aligned(is_aligned(all, vocab)),
        scale(scale) {}

  __device__ int count(int slice) const {
    const int left = vocab - slice * kSlice;
    return left < kSlice ? left : kSlice;
  }

  /// Calls body(slice) for this warp's.
  template <class Body>
  __device__ void for_slices(const Body& body) const {
    for (int slice = warp_of_thread(); slice < slices; slice += warps_of_block()) body(slice);
  }

  /// Calls body(slice, its logits) for this warp's; the next ones are on their way meanwhile.
  ///
  /// @param rings  [warps, kRing, kSlice], shared memory
  template <class Body>
  __device__ void stream_slices(Element* rings, const Body& body) const {
    Element* const ring = rings + warp_of_thread() * (kRing<Element> * kSlice);
    const auto fetch = [&](int slice, int place) {
      const bool any = slice < slices;
      copy_slice(any ? logits + slice * kSlice : logits, any ? count(slice) : 0, aligned,
                 ring + place * kSlice);
    };
    const int warps = warps_of_block();
    int next = warp_of_thread();
#pragma unroll
    for (int place = 0; place < kRing<Element> - 1; ++place, next += warps) fetch(next, place);
    int place = 0;
    for (int slice = warp_of_thread(); slice < slices; slice += warps, next += warps) {
      __syncwarp();  // all lanes are done with the place that is filled now
      fetch(next, place == 0 ? kRing<Element> - 1 : place - 1);
      wait_for_slice(kRing<Element> - 1);
      body(slice, ring + place * kSlice);
      place = place == kRing<Element> - 1 ? 0 : place + 1;
    }
  }

  /// This lane's part of a slice, all of it on its way at once; -inf beyond the row.
  __device__ void load(int slice, float (&x)[kSliceVectors][kVector]) const {
    load_slice(logits + slice * kSlice, count(slice), aligned, x);
  }
};

/// The id of element `i` of this lane's vector `v` of a slice.
__device__ inline int id_of(int slice, int v, int i) {
  return slice * kSlice + (v * kWarp + lane_of_thread()) * kVector + i;
}

/// The first id of the vector at `id` at which the running sum, so far `running`, exceeds `target`;
/// where none does, the last of any value. Reads the vector again, from L1.
template <class Sum, class Element, class Value>
__device__ int first_past(const Row<Element>& row, int id, Sum running, Sum target,
                          const Value& value) {
  int chosen = id;
  for (int i = id; i < id + kVector && i < row.vocab; ++i) {
    const Sum amount = value(to_float(row.logits[i]), i);
    if (!(amount > 0)) continue;
    chosen = i;
    running += amount;
    if (running > target) break;
  }
  return chosen;
}

/// The first id of a slice at which the running sum of value(logit, id) exceeds `target`; where
/// none does, the last id of any value. By a whole warp, whose lanes agree on it.
template <class Sum, class Element, class Value>
__device__ int pick(const Row<Element>& row, int slice, Sum target, const Value& value) {
  float x[kSliceVectors][kVector];
  row.load(slice, x);
  Sum through[kSliceVectors];
  int last = -1;
  bool any[kSliceVectors];
#pragma unroll
  for (int v = 0; v < kSliceVectors; ++v) {
    through[v] = 0;
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const Sum amount = value(x[v][i], id_of(slice, v, i));
      if (amount > 0) last = id_of(slice, v, i);
      through[v] += amount;
    }
    any[v] = last >= id_of(slice, v, 0);
  }
#pragma unroll
  for (int v = 0; v < kSliceVectors; ++v) through[v] = warp_inclusive_sum(through[v]);
  Sum before = 0;  // the vectors up to this one
  int owner = -1, chosen = 0;
#pragma unroll
  for (int v = 0; v < kSliceVectors; ++v) {
    const Sum below = __shfl_up_sync(kAllLanes, through[v], 1);
    // Rounding may raise a sum where nothing was added, so that alone doesn't count.
    const unsigned past = __ballot_sync(kAllLanes, any[v] && before + through[v] > target);
    if (past != 0 && owner < 0) {
      owner = __ffs(static_cast<int>(past)) - 1;
      chosen = first_past(row, id_of(slice, v, 0), lane_of_thread() == 0 ? before : before + below,
                          target, value);
    }
    before += __shfl_sync(kAllLanes, through[v], kWarp - 1);
  }
  last = warp_reduce(last, [](int a, int b) { return a > b ? a : b; });
  chosen = __shfl_sync(kAllLanes, chosen, owner < 0 ? 0 : owner);
  if (owner >= 0) return chosen;
  return last < 0 ? slice * kSlice : last;
}

}  // namespace r1::kernels

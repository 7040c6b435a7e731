#pragma once
#include "kernels/common/row.cuh"

/// What a selection is made of: whole numbers that order tokens, sums and a sort by a whole block,
/// and bins. See select.cuh.
namespace r1::kernels {

using Amount = unsigned long long;

constexpr int kBins = 2048;
constexpr int kListed = 8192;  // tokens
constexpr int kSorted = 2048;  // of them at most; a power of 2

/// The tokens kept: every logit above `logit`, and those equal to it up to id `last_tie`.
struct Threshold {
  float logit;
  int last_tie;

  __device__ bool keeps(float x, int id) const {
    const int above = x > logit, ties = x == logit, in_time = id <= last_tie;
    return (above | (ties & in_time)) != 0;  // no branch for every logit
  }
};

/// The first index at which a running sum reaches what was asked for, and the sum before it.
struct Place {
  int index;
  Amount before;
};

/// What the threads of a block share.
struct Selection {
  union {
    struct {
      unsigned low[kBins], high[kBins];  // halves of each bin's amount
    } bins;
    Amount few[kSorted];  // ordinals of the tokens in the bin that was found
  };
  Amount list[kListed];  // of ordinals
  Amount warps[kWarp];
  Place place;
  int listed;   // tokens that should be in the list, more than it holds perhaps
  int counted;  // likewise of the few
  int summed;   // whether by_slice has what is kept
};

/// Order-preserving whole number of a logit; -0 and 0 are equal.
template <class Element>
__device__ unsigned key_of(float logit) {
  const unsigned bits = __float_as_uint(logit + 0.f);
  const unsigned key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return sizeof(Element) == 2 ? key >> 16 : key;
}

template <class Element>
__device__ float logit_of_key(unsigned key) {
  if (sizeof(Element) == 2) key = key << 16 | (key & 0x8000u ? 0 : 0xFFFFu);
  return __uint_as_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

/// A token as a number that is larger for larger logits, then for lower ids.
template <class Element>
__device__ Amount ordinal_of(float logit, int id) {
  return static_cast<Amount>(key_of<Element>(logit)) << 32 |
         (0xFFFFFFFFu - static_cast<unsigned>(id));
}

template <class Element>
__device__ Threshold threshold_of(Amount ordinal) {
  return {logit_of_key<Element>(static_cast<unsigned>(ordinal >> 32)),
          static_cast<int>(0xFFFFFFFFu - static_cast<unsigned>(ordinal & 0xFFFFFFFFu))};
}

// What a whole block computes; every thread calls these and has the result ------------------------

template <class Value>
__device__ Amount block_total(int count, Selection& space, const Value& value) {
  Amount sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x))
    sum += value(i);
  sum = warp_sum(sum);
  if (lane_of_thread() == 0) space.warps[warp_of_thread()] = sum;
  __syncthreads();  // every warp's sum is there
  sum = 0;
  for (int warp = 0; warp < warps_of_block(); ++warp) sum += space.warps[warp];
  __syncthreads();  // all have read them
  return sum;
}

/// Where the running sum of value(i) reaches `needed` > 0; the last index where it never does.
template <class Value>
__device__ Place find(int count, Amount needed, Selection& space, const Value& value) {
  const int threads = static_cast<int>(blockDim.x), each = (count + threads - 1) / threads;
  const int begin = static_cast<int>(threadIdx.x) * each;
  const int end = begin + each < count ? begin + each : count;
  Amount sum = 0;
  for (int i = begin; i < end; ++i) sum += value(i);
  const Amount through = warp_inclusive_sum(sum);
  if (lane_of_thread() == kWarp - 1) space.warps[warp_of_thread()] = through;
  if (threadIdx.x == 0) space.place = {count - 1, 0};
  __syncthreads();  // every warp's sum is there
  Amount before = through - sum;
  for (int warp = 0; warp < warp_of_thread(); ++warp) before += space.warps[warp];
  if (before < needed && before + sum >= needed) {  // one thread's run at most
    for (int i = begin; i < end; ++i) {
      const Amount amount = value(i);
      if (before + amount >= needed) {
        space.place = {i, before};
        break;
      }
      before += amount;
    }
  }
  __syncthreads();  // the place is there
  const Place place = space.place;
  __syncthreads();  // all have read it
  return place;
}

/// Bitonic, largest first, of `count` numbers and as many 0 as make it a power of 2.
__device__ inline void sort(Amount* values, int count) {
  int size = 1;
  while (size < count) size *= 2;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (int i = count + thread; i < size; i += threads) values[i] = 0;
  __syncthreads();  // the zeros are there
  for (int run = 2; run <= size; run *= 2) {
    for (int stride = run / 2; stride > 0; stride /= 2) {
      for (int pair = thread; pair < size / 2; pair += threads) {
        const int i = 2 * pair - (pair & (stride - 1)), j = i + stride;
        const Amount a = values[i], b = values[j];
        if ((a < b) == ((i & run) == 0)) values[i] = b, values[j] = a;
      }
      __syncthreads();  // the next step reads what other threads wrote
    }
  }
}

// The selection -----------------------------------------------------------------------------------

/// Bins of one width, in the logit at first and then in its key, from the largest logit down.
template <class Element>
struct Bins {
  unsigned lowest, highest;  // keys in the bracket
  float max, per_logit;      // 0: by key
  int shift;

  /// @param span  from the largest logit down; the last bin has all that is below it
  __device__ Bins(float max, float span, float low)
      : lowest(key_of<Element>(low)),
        highest(key_of<Element>(max)),
        max(max),
        per_logit(static_cast<float>(kBins) / span),
        shift(0) {
    if (!(per_logit > 0 && per_logit < kInfinity)) by_key();
  }

  __device__ void by_key() {
    per_logit = 0;
    shift = 0;
    while ((highest - lowest) >> shift >= kBins) ++shift;
  }

  __device__ int bin_of(float logit) const {
    if (per_logit == 0) return static_cast<int>((highest - key_of<Element>(logit)) >> shift);
    return static_cast<int>(fminf((max - logit) * per_logit, static_cast<float>(kBins - 1)));
  }

  /// The least key of those in bins up to this one.
  __device__ unsigned least_key(int bin) const {
    unsigned least = highest;
    for (unsigned begin = lowest; begin < least;) {  // halves it, so 32 times at most
      const unsigned middle = begin + (least - begin) / 2;
      if (bin_of(logit_of_key<Element>(middle)) <= bin)
        least = middle;
      else
        begin = middle + 1;
    }
    return least;
  }

  /// Makes a bin the bracket.
  __device__ void enter(int bin) {
    const unsigned least = least_key(bin);
    if (bin > 0) highest = least_key(bin - 1) - 1;
    lowest = least;
    by_key();
  }
};

/// Adds to a bin by halves: a 64-bit atomic of shared memory is a loop on every GPU so far.
__device__ inline void add_to_bin(Selection& space, int bin, Amount amount) {
  const auto low = static_cast<unsigned>(amount);
  auto high = static_cast<unsigned>(amount >> 32);
  high += atomicAdd(&space.bins.low[bin], low) > 0xFFFFFFFFu - low;  // the carry
  if (high) atomicAdd(&space.bins.high[bin], high);
}

__device__ inline Amount bin_amount(const Selection& space, int bin) {
  return static_cast<Amount>(space.bins.high[bin]) << 32 | space.bins.low[bin];
}

}  // namespace r1::kernels

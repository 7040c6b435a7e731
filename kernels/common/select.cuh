#pragma once
#include "kernels/common/row.cuh"

/// Exact selection of the largest logits of a row until they measure enough, each 1 (top-k) or its
/// weight (top-p), by one block; ties go to the lowest id. The GPU's side of select.h.
///
/// Amounts are whole numbers, so that the order in which threads add them changes no bit. A round
/// visits the tokens in a bracket that holds the boundary: a histogram says in which bin it is, and
/// meanwhile the tokens are listed, as long as there is room. Where all are, the sorted list
/// decides; otherwise the bin is the next bracket, down to a single value, whose ties are counted
/// in order.
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

  __device__ bool has(float logit) const {
    const unsigned key = key_of<Element>(logit);
    return key >= lowest && key <= highest;
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

/// Calls body(logit, id) for this thread's logits from `low` to `high`. Most are not, so those that
/// are, are read again, from L1; it keeps the body out of the vectors' registers.
///
/// @param above  above(slice, logits), of the slices that reach `low`; to be called by whole warps
template <class Element, class Above, class Body>
__device__ void for_tokens(const Row<Element>& row, const SliceSums* sums, float low, float high,
                           const Above& above, const Body& body) {
  row.for_slices([&](int slice) {
    if (sums[slice].max < low) return;
    float x[kSliceVectors][kVector];
    row.load(slice, x);
    unsigned inside = 0;
#pragma unroll
    for (int v = 0; v < kSliceVectors; ++v)
#pragma unroll
      for (int i = 0; i < kVector; ++i)
        inside |= static_cast<unsigned>(x[v][i] >= low && x[v][i] <= high) << (v * kVector + i);
    above(slice, x);
    for (; inside; inside &= inside - 1) {
      const int at = __ffs(static_cast<int>(inside)) - 1;
      const int id = id_of(slice, at / kVector, at % kVector);
      if (id < row.vocab) body(to_float(row.logits[id]), id);
    }
  });
}

/// One selection.
template <class Element, class Measure>
struct Selector {
  const Row<Element>& row;
  const SliceSums* sums;  // of its slices
  Threshold among;        // the tokens to choose from
  const Measure& measure;
  Amount* by_slice;  // [slices]
  Selection& space;

  __device__ void clear() const {
    for (int bin = static_cast<int>(threadIdx.x); bin < kBins; bin += static_cast<int>(blockDim.x))
      space.bins.low[bin] = space.bins.high[bin] = 0;
    if (threadIdx.x == 0) space.listed = 0;
    __syncthreads();  // all is 0
  }

  /// Visits the bracket's tokens.
  ///
  /// @param above  as for_tokens says
  template <class Above>
  __device__ void visit(const Bins<Element>& bins, const Above& above) const {
    clear();
    const float low = logit_of_key<Element>(bins.lowest),
                high = logit_of_key<Element>(bins.highest);
    for_tokens(row, sums, low, high, above, [&](float x, int id) {
      if (!among.keeps(x, id)) return;
      add_to_bin(space, bins.bin_of(x), measure(x));
      if (*static_cast<volatile int*>(&space.listed) > kListed) return;
      const int at = atomicAdd(&space.listed, 1);
      if (at < kListed) space.list[at] = ordinal_of<Element>(x, id);
    });
    __syncthreads();  // histogram and list are complete
  }

  /// A bracket that very likely holds the boundary, by a sample of every slice: what is left out
  /// weighs little each, so an eighth of it tells its mass well, whatever a few tokens weigh above.
  ///
  /// @param bins      by logit
  /// @param left_out  amount beyond the boundary
  __device__ Bins<Element> guess(const Bins<Element>& bins, Amount left_out) const {
    constexpr int kVectors = 16;       // of a slice's 128
    constexpr double kDeviations = 4;  // to either side
    clear();
    const int threads = static_cast<int>(blockDim.x);
    for (int i = static_cast<int>(threadIdx.x); i < row.slices * kVectors; i += threads) {
      const int id = i / kVectors * kSlice + i % kVectors * kVector;
      const int left = row.vocab - id;
      if (left <= 0) break;
      float x[kVector];
      load_vector(row.logits + id, left, row.aligned, -kInfinity, x);
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        if (j >= left || !among.keeps(x[j], id + j)) continue;
        const Amount amount = measure(x[j]);
        if (amount) add_to_bin(space, bins.bin_of(x[j]), amount);
      }
    }
    __syncthreads();  // the histogram is complete
    const auto of_bin = [&](int bin) { return bin_amount(space, bin); };
    const double all = static_cast<double>(block_total(kBins, space, of_bin));
    const int rest = row.vocab - (row.slices - 1) * kSlice, most = kVectors * kVector;
    const int sampled = (row.slices - 1) * most + (rest < most ? rest : most);
    const double share = static_cast<double>(sampled) / row.vocab;
    /// The first bin with at most this amount beyond it, as far as the sample knows.
    const auto bin_before = [&](double amount) {
      const double needed = all - amount * share;
      return find(kBins, needed > 1 ? static_cast<Amount>(needed) : 1, space, of_bin).index;
    };
    const auto edge = [&](int bin) { return bins.max - static_cast<float>(bin) / bins.per_logit; };
    const double out = static_cast<double>(left_out);
    double error = 0;
    int first = 0, last = 0;
#pragma unroll 1
    for (int i = 0; i < 3; ++i) {  // about the boundary, then to both sides of it
      last = bin_before(i == 2 ? out - error : out + error);
      if (i == 0)
        error = kDeviations * sqrt(out * static_cast<double>(measure(edge(last))) / share);
      else if (i == 1)
        first = last;
    }
    const float low = logit_of_key<Element>(bins.lowest);
    const float to = last == kBins - 1 ? low : fmaxf(edge(last + 1), low);
    // Logits that there are, so that none of them is in no bin.
    const float high = logit_of_key<Element>(key_of<Element>(edge(first)));
    const float end = fminf(logit_of_key<Element>(key_of<Element>(to)), high);
    return Bins<Element>(high, high - end, end);
  }

  /// The tie that completes the amount, of those of one value.
  __device__ Threshold among_ties(float logit, Amount missing) const {
    const Amount each = measure(logit);
    const Amount ties = each ? (missing + each - 1) / each : 1;
    const auto is_tie = [&](float x, int id) -> Amount {
      return x == logit && id < row.vocab && among.keeps(x, id);
    };
    row.for_slices([&](int slice) {
      Amount count = 0;
      float x[kSliceVectors][kVector];
      row.load(slice, x);
#pragma unroll
      for (int v = 0; v < kSliceVectors; ++v)
#pragma unroll
        for (int i = 0; i < kVector; ++i) count += is_tie(x[v][i], id_of(slice, v, i));
      count = warp_sum(count);
      if (lane_of_thread() == 0) by_slice[slice] = count;
    });
    __syncthreads();  // every slice's count is there
    const Place place = find(row.slices, ties, space, [&](int slice) { return by_slice[slice]; });
    return {logit, pick(row, place.index, ties - place.before - 1, is_tie)};
  }

  /// Narrows the bracket by a guess.
  ///
  /// @param above  of what is beyond the bracket
  /// @return whether histogram and list are those of the bracket
  __device__ bool narrow(Bins<Element>& bins, Amount needed, Amount left_out, Amount& above) const {
    const Bins<Element> guessed = guess(bins, left_out);
    const float high = logit_of_key<Element>(guessed.highest);
    const int threads = static_cast<int>(blockDim.x);
    for (int slice = static_cast<int>(threadIdx.x); slice < row.slices; slice += threads)
      by_slice[slice] = 0;
    __syncthreads();  // all is 0
    visit(guessed, [&](int slice, const float (&x)[kSliceVectors][kVector]) {
      Amount sum = 0;
#pragma unroll
      for (int v = 0; v < kSliceVectors; ++v)
#pragma unroll
        for (int i = 0; i < kVector; ++i) {
          const Amount amount = measure(x[v][i]);
          sum += x[v][i] > high ? amount : 0;
        }
      sum = warp_sum(sum);
      if (lane_of_thread() == 0) by_slice[slice] = sum;
    });
    const Amount beyond =
        block_total(row.slices, space, [&](int slice) { return by_slice[slice]; });
    if (beyond >= needed) {
      bins.lowest = guessed.highest + 1;
      bins.by_key();
      return false;
    }
    above = beyond;
    if (guessed.lowest > bins.lowest) {
      const Amount inside =
          block_total(kBins, space, [&](int bin) { return bin_amount(space, bin); });
      if (above + inside < needed) {
        above += inside;
        bins.highest = guessed.lowest - 1;
        bins.by_key();
        return false;
      }
    }
    bins = guessed;
    return true;
  }

  /// Adds what is kept of the list to the slices' amounts.
  ///
  /// @param count  0: the slices' amounts aren't those beyond the list's bracket
  __device__ Threshold finish(const Threshold& threshold, int count) const {
    if (count == 0) return threshold;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
      const Threshold token = threshold_of<Element>(space.list[i]);
      if (threshold.keeps(token.logit, token.last_tie))
        atomicAdd(&by_slice[token.last_tie / kSlice], measure(token.logit));
    }
    if (threadIdx.x == 0) space.summed = 1;
    __syncthreads();  // all are added
    return threshold;
  }

  /// Copies a bin's tokens of the list over the histogram. @return how many should be there
  __device__ int list_bin(const Bins<Element>& bins, int bin, int count) const {
    if (threadIdx.x == 0) space.counted = 0;
    __syncthreads();  // the count is 0
    for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
      if (bins.bin_of(threshold_of<Element>(space.list[i]).logit) != bin) continue;
      const int at = atomicAdd(&space.counted, 1);
      if (at < kSorted) space.few[at] = space.list[i];
    }
    __syncthreads();  // all are there
    return space.counted;
  }

  /// The smallest set of largest logits that measures `needed` > 0. Where it was the list that
  /// decided, `listed` says how many of the list, from its beginning, are all there are in the set.
  ///
  /// @param left_out  the amount beyond it, where that is known and most tokens are candidates
  ///
  /// Where a guess was right, by_slice has what is kept, and space.summed says so.
  __device__ Threshold operator()(Bins<Element> bins, Amount needed, int& listed,
                                  Amount left_out) const {
    constexpr int kRounds = 6;  // one by a guess, one by logit, then 11 bits of the key at a time
    const auto of_ordinal = [&](const Amount* list) {
      return [this, list](int i) { return measure(threshold_of<Element>(list[i]).logit); };
    };
    Amount above = 0;
    listed = 0;
    bool visited = left_out > 0 && bins.per_logit > 0 && narrow(bins, needed, left_out, above);
    for (int round = 0; round < kRounds && (visited || bins.lowest < bins.highest); ++round) {
      const bool first = visited;
      visited = false;
      if (!first) visit(bins, [](int, const float (&)[kSliceVectors][kVector]) {});
      const int count = space.listed;
      if (count == 0) return among;  // rounding asks for more than there is
      if (above == 0 && count <= kSorted) {
        sort(space.list, count);
        listed = find(count, needed, space, of_ordinal(space.list)).index + 1;
        return finish(threshold_of<Element>(space.list[listed - 1]), first ? count : 0);
      }
      const Place place =
          find(kBins, needed - above, space, [&](int bin) { return bin_amount(space, bin); });
      const int few = count <= kListed ? list_bin(bins, place.index, count) : 0;
      if (few > 0 && few <= kSorted) {
        sort(space.few, few);
        const Place last = find(few, needed - above - place.before, space, of_ordinal(space.few));
        return finish(threshold_of<Element>(space.few[last.index]), first ? count : 0);
      }
      above += place.before;
      bins.enter(place.index);
    }
    return among_ties(logit_of_key<Element>(bins.lowest), needed - above);
  }
};

}  // namespace r1::kernels

#pragma once
#include "kernels/common/histogram.cuh"

/// Exact selection of the largest logits of a row until they measure enough, each 1 (top-k) or its
/// weight (top-p), by one block; ties go to the lowest id. The GPU's side of select.h.
///
/// Amounts are whole numbers, so that the order in which threads add them changes no bit. A round
/// visits the tokens in a bracket that holds the boundary: a histogram says in which bin it is, and
/// meanwhile the tokens are listed, as long as there is room. Where all are, the sorted list
/// decides; otherwise the bin is the next bracket, down to a single value, whose ties are counted
/// in order.
namespace r1::kernels {

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

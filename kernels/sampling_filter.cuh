#pragma once
#include "kernels/common/select.cuh"
#include "kernels/sampling.h"

/// The tokens of a row that top-k, top-p and min-p keep, and their amounts; by one block.
namespace r1::kernels {

/// Weights as whole numbers: all of a row's add up to less than 2^62.
struct Unit {
  float max, scale, unit;

  __device__ Unit(const SoftmaxRow& softmax, float scale)
      : max(softmax.max), scale(scale), unit(0) {
    int bits = 1;  // sum < 2^bits
    while (bits < 60 && softmax.sum >= static_cast<double>(1ull << bits)) ++bits;
    unit = static_cast<float>(1ull << (61 - bits));
  }
  __device__ float weight(float x) const { return weight_of(scaled(x, max, scale)); }
  __device__ Amount amount(float weight) const { return static_cast<Amount>(weight * unit); }
  /// The least logit above which tokens have a weight, or a bit below it.
  __device__ float logit_of(double weight) const {
    const double z = weight > 1e-38 ? log(weight) : -88.;
    return max + static_cast<float>(z / static_cast<double>(scale));
  }
};

/// A block's view of its row while it filters.
template <class Element>
struct Filter {
  const Row<Element>& row;
  const SliceSums* sums;
  const Unit& unit;
  const SamplingFilter& by;
  Amount* by_slice;
  Selection& space;

  __device__ Amount kept(const Threshold& threshold, float x, int id) const {
    if (!threshold.keeps(x, id)) return 0;
    const float weight = unit.weight(x);
    return weight < by.min_p ? 0 : unit.amount(weight);
  }

  /// Sums what may be drawn by slices. @return all of it
  template <class Value>
  __device__ Amount sum(const Threshold& threshold, const Value& value) const {
    row.for_slices([&](int slice) {
      Amount amount = 0;
      if (sums[slice].max >= threshold.logit) {
        float x[kSliceVectors][kVector];
        row.load(slice, x);
#pragma unroll
        for (int v = 0; v < kSliceVectors; ++v)
#pragma unroll
          for (int i = 0; i < kVector; ++i) amount += value(x[v][i], id_of(slice, v, i));
        amount = warp_sum(amount);
      }
      if (lane_of_thread() == 0) by_slice[slice] = amount;
    });
    __syncthreads();  // every slice's is there
    return block_total(row.slices, space, [&](int slice) { return by_slice[slice]; });
  }

  /// A logit that k tokens at least reach: the k-th largest of the slices' largest.
  __device__ float reached_by(std::int64_t k) const {
    if (k > row.slices || row.slices > kListed) return -kInfinity;
    for (int i = static_cast<int>(threadIdx.x); i < row.slices; i += static_cast<int>(blockDim.x))
      space.list[i] = key_of<Element>(sums[i].max);
    sort(space.list, row.slices);
    return logit_of_key<Element>(static_cast<unsigned>(space.list[k - 1]));
  }

  __device__ Threshold top_k(const Threshold& among, int& listed) const {
    constexpr float kSpan = 32;  // logits; 2,048 bins of 1/64
    const float low = reached_by(by.top_k);
    const auto one = [](float) -> Amount { return 1; };
    const Bins<Element> bins(unit.max, low == -kInfinity ? kSpan : unit.max - low, low);
    return Selector<Element, decltype(one)>{row, sums, among, one, by_slice, space}(
        bins, static_cast<Amount>(by.top_k), listed, 0);
  }

  __device__ Amount needed(Amount total) const {
    const auto amount = static_cast<Amount>(ceil(by.top_p * static_cast<double>(total)));
    return amount ? amount : 1;
  }

  /// @param total   of the tokens to choose from
  /// @param listed  how many they are, if the list begins with them all; else 0
  __device__ Threshold top_p(const Threshold& among, Amount total, int listed) const {
    const auto mass = [&](float x) { return unit.amount(unit.weight(x)); };
    if (listed) {
      const Place place = find(listed, needed(total), space, [&](int i) {
        return mass(threshold_of<Element>(space.list[i]).logit);
      });
      return threshold_of<Element>(space.list[place.index]);
    }
    // All tokens below an even share of what is left out weigh less than that together. Half of
    // it, because of rounding.
    const double share = 0.5 * (1 - by.top_p) * static_cast<double>(total) / row.vocab /
                         static_cast<double>(unit.unit);
    const float low = fmaxf(unit.logit_of(share), among.logit);
    return Selector<Element, decltype(mass)>{row, sums, among, mass, by_slice, space}(
        Bins<Element>(unit.max, unit.max - low, low), needed(total), listed,
        total > needed(total) ? total - needed(total) : 0);
  }

  /// The tokens that top-k and top-p keep.
  ///
  /// Where space.summed says so, by_slice has their amounts already.
  __device__ Threshold operator()(double sum_of_weights) const {
    Threshold threshold{-kInfinity, row.vocab - 1};
    const bool by_count = by.top_k > 0 && by.top_k < row.vocab;
    int listed = 0;
    if (by_count) threshold = top_k(threshold, listed);
    if (by.top_p >= 1) return threshold;
    const auto mass = [&](float x) { return unit.amount(unit.weight(x)); };
    auto total = static_cast<Amount>(sum_of_weights * static_cast<double>(unit.unit));
    if (listed)
      total = block_total(listed, space,
                          [&](int i) { return mass(threshold_of<Element>(space.list[i]).logit); });
    else if (by_count)
      total = sum(threshold,
                  [&](float x, int id) -> Amount { return threshold.keeps(x, id) ? mass(x) : 0; });
    return top_p(threshold, total, listed);
  }
};

}  // namespace r1::kernels

#include "kernels/sampling.h"

#include "kernels/common/philox.h"
#include "kernels/common/select.cuh"

/// A block to each row: its warps sum the slices, and one of them draws. With a filter, the block
/// first selects the tokens that may be drawn.
namespace r1::kernels {
namespace {

constexpr int kMostWarps = 16;          // two blocks to a multiprocessor: one draws, one reads
constexpr std::int64_t kFewRows = 132;  // of an H200's multiprocessors; fewer take larger blocks
constexpr int kLeastBlocks = 2;

/// The results, each [rows].
struct Results {
  std::int64_t* tokens;
  float *logprobs, *truncated_logprobs, *entropies;

  __device__ void no_distribution(std::int64_t n) const {
    tokens[n] = 0;
    logprobs[n] = truncated_logprobs[n] = entropies[n] = __builtin_nanf("");
  }
};

/// A slice, and what is left in it of a target.
struct SliceTarget {
  int slice;
  double target;
};

/// The slice at which the running mass exceeds uniform * total; by a whole warp. Lanes take runs of
/// slices; the run in which it happens is divided again. Where rounding leaves none, the last slice
/// of any mass, with no end to the target.
template <class Mass>
__device__ SliceTarget find_slice(int slices, double uniform, const Mass& mass) {
  int begin = 0, count = slices;
  double start = 0, target = 0;
  for (bool whole = true; whole || count > 1; whole = false) {
    const int each = static_cast<int>(ceil_div(count, kWarp));
    double sum = 0;
    for (int i = lane_of_thread() * each; i < (lane_of_thread() + 1) * each && i < count; ++i)
      sum += mass(begin + i);
    const double through = start + warp_inclusive_sum(sum);
    if (whole) target = fmax(uniform, 0.) * __shfl_sync(kAllLanes, through, kWarp - 1);
    const unsigned any = __ballot_sync(kAllLanes, sum > 0);
    const unsigned past = __ballot_sync(kAllLanes, sum > 0 && through > target);
    if (!past) target = static_cast<double>(kInfinity);
    const int owner =
        past ? __ffs(static_cast<int>(past)) - 1 : kWarp - 1 - __clz(static_cast<int>(any));
    if (owner > 0) start = __shfl_sync(kAllLanes, through, owner - 1);
    begin += owner * each;
    count = count - owner * each < each ? count - owner * each : each;
  }
  return {begin, target - start};
}

/// Draws by the slices' sums; by a whole warp.
template <class Element>
__device__ int draw(const Row<Element>& row, const SliceSums* sums, const SoftmaxRow& softmax,
                    double uniform) {
  const auto factor = [&](int slice) {
    return slice_factor(sums[slice].max, softmax.max, row.scale);
  };
  const SliceTarget place = find_slice(row.slices, uniform, [&](int slice) {
    return factor(slice) * static_cast<double>(sums[slice].weights);
  });
  const float max = sums[place.slice].max;
  return pick(row, place.slice, place.target / factor(place.slice), [&](float x, int) {
    return static_cast<double>(weight_of(scaled(x, max, row.scale)));
  });
}

/// The sums of a row's slices; afterwards every thread of the block sees them all.
template <class Element>
__device__ void sum_slices(const Row<Element>& row, SliceSums* sums) {
  row.for_slices([&](int slice) {
    const SliceSums of_slice =
        slice_sums(row.logits + slice * kSlice, row.count(slice), row.scale, row.aligned);
    if (lane_of_thread() == 0) sums[slice] = of_slice;
  });
  __syncthreads();
}

template <class Element>
__global__ void __launch_bounds__(2 * kMostWarps * kWarp)
    sample_kernel(const Element* logits, int vocab, float scale, const double* uniforms,
                  Results results) {
  R1_DYNAMIC_SHARED(memory);
  auto* const sums = reinterpret_cast<SliceSums*>(memory);
  const std::int64_t n = blockIdx.x;
  const Row<Element> row(logits, n, vocab, scale);
  sum_slices(row, sums);
  if (warp_of_thread() != 0) return;
  const SoftmaxRow softmax =
      combine_slices(row.slices, scale, [&](std::int64_t i) { return sums[i]; });
  if (softmax.sum != softmax.sum) {
    if (lane_of_thread() == 0) results.no_distribution(n);
    return;
  }
  const int token = draw(row, sums, softmax, uniforms[n]);
  if (lane_of_thread() != 0) return;
  results.tokens[n] = token;
  results.logprobs[n] = results.truncated_logprobs[n] =
      logprob_of(softmax, to_float(row.logits[token]), scale);
  results.entropies[n] = entropy_of(softmax);
}

// With a filter -----------------------------------------------------------------------------------

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
        bins, static_cast<Amount>(by.top_k), listed);
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
        Bins<Element>(unit.max, unit.max - low, low), needed(total), listed);
  }

  /// The tokens that top-k and top-p keep.
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

/// What the threads of a block share, besides the slices' sums.
struct Shared {
  Selection selection;
  SoftmaxRow softmax;
};

template <class Element>
__global__ void __launch_bounds__(kMostWarps* kWarp, kLeastBlocks)
    sample_filtered_kernel(const Element* logits, int vocab, float scale, SamplingFilter filter,
                           const double* uniforms, Results results) {
  R1_DYNAMIC_SHARED(memory);
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const std::int64_t n = blockIdx.x;
  const Row<Element> row(logits, n, vocab, scale);
  auto* const by_slice = reinterpret_cast<Amount*>(memory + sizeof(Shared));
  auto* const sums = reinterpret_cast<SliceSums*>(by_slice + row.slices);
  sum_slices(row, sums);
  if (warp_of_thread() == 0) {
    const SoftmaxRow of_row =
        combine_slices(row.slices, scale, [&](std::int64_t i) { return sums[i]; });
    if (lane_of_thread() == 0) shared.softmax = of_row;
  }
  __syncthreads();  // the row's softmax is there
  const SoftmaxRow softmax = shared.softmax;
  if (softmax.sum != softmax.sum) {
    if (threadIdx.x == 0) results.no_distribution(n);
    return;
  }
  const Unit unit(softmax, scale);
  const Filter<Element> by{row, sums, unit, filter, by_slice, shared.selection};
  const Threshold threshold = by(softmax.sum);
  const auto kept = [&](float x, int id) { return by.kept(threshold, x, id); };
  const Amount total = by.sum(threshold, kept);
  auto target = static_cast<Amount>(fmin(fmax(uniforms[n], 0.), 1.) * static_cast<double>(total));
  if (target >= total) target = total - 1;
  const Place place =
      find(row.slices, target + 1, shared.selection, [&](int slice) { return by_slice[slice]; });
  if (warp_of_thread() != 0) return;
  const int token = pick(row, place.index, target - place.before, kept);
  if (lane_of_thread() != 0) return;
  const float logit = to_float(row.logits[token]);
  results.tokens[n] = token;
  results.logprobs[n] = logprob_of(softmax, logit, scale);
  results.truncated_logprobs[n] = logprob_of(
      {softmax.max, static_cast<double>(total) / static_cast<double>(unit.unit), 0}, logit, scale);
  results.entropies[n] = entropy_of(softmax);
}

// Launches ----------------------------------------------------------------------------------------

/// As many threads as leave the fewest warps idle in the last round over the slices.
int threads_for(std::int64_t slices, int most_warps) {
  const std::int64_t rounds = ceil_div(slices, most_warps);
  return static_cast<int>(ceil_div(slices, rounds)) * kWarp;
}

template <class Element>
int sample(const Element* logits, std::int64_t rows, std::int64_t vocab, SamplingFilter filter,
           const double* uniforms, const Results& results, CudaStream stream) {
  if (vocab > kSampleMostVocab) return cudaErrorInvalidValue;
  const float scale = 1.f / filter.temperature;
  const std::int64_t slices = ceil_div(vocab, kSlice);
  const auto bytes = static_cast<std::size_t>(slices) * sizeof(SliceSums);
  if (!((filter.top_k > 0 && filter.top_k < vocab) || filter.top_p < 1 || filter.min_p > 0))
    return launch({rows, threads_for(slices, rows > kFewRows ? kMostWarps : 2 * kMostWarps), bytes},
                  stream, &sample_kernel<Element>, logits, vocab, scale, uniforms, results);
  const std::size_t shared =
      sizeof(Shared) + static_cast<std::size_t>(slices) * sizeof(Amount) + bytes;
  return launch({rows, threads_for(slices, kMostWarps), shared}, stream,
                &sample_filtered_kernel<Element>, logits, vocab, scale, filter, uniforms, results);
}

__global__ void philox_uniforms_kernel(std::uint64_t seed, const std::int64_t* prompt_uids,
                                       const std::int64_t* samples, const std::int64_t* positions,
                                       std::int64_t count, double* uniforms) {
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (n >= count) return;
  uniforms[n] = philox_uniform(seed, static_cast<std::uint32_t>(positions[n]),
                               static_cast<std::uint32_t>(samples[n]),
                               static_cast<std::uint32_t>(prompt_uids[n]), PhiloxStream::kSampling);
}

}  // namespace

int sample_cuda(const float* logits, std::int64_t rows, std::int64_t vocab, SamplingFilter filter,
                const double* uniforms, std::int64_t* tokens, float* logprobs,
                float* truncated_logprobs, float* entropies, CudaStream stream) {
  return sample(logits, rows, vocab, filter, uniforms,
                {tokens, logprobs, truncated_logprobs, entropies}, stream);
}

int sample_bf16_cuda(const bf16* logits, std::int64_t rows, std::int64_t vocab,
                     SamplingFilter filter, const double* uniforms, std::int64_t* tokens,
                     float* logprobs, float* truncated_logprobs, float* entropies,
                     CudaStream stream) {
  return sample(logits, rows, vocab, filter, uniforms,
                {tokens, logprobs, truncated_logprobs, entropies}, stream);
}

int philox_uniforms_cuda(std::uint64_t seed, const std::int64_t* prompt_uids,
                         const std::int64_t* samples, const std::int64_t* positions,
                         std::int64_t count, double* uniforms, CudaStream stream) {
  constexpr int kThreads = 256;
  return launch({ceil_div(count, kThreads), kThreads}, stream, &philox_uniforms_kernel, seed,
                prompt_uids, samples, positions, count, uniforms);
}

}  // namespace r1::kernels

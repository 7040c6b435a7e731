#include "kernels/sampling.h"

#include "kernels/common/philox.h"
#include "kernels/sampling_filter.cuh"

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
  const auto factor = [&](int slice) -> double {
    return static_cast<double>(slice_shift(sums[slice].max, softmax.max, row.scale).factor);
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
  const double mass = static_cast<double>(total) / static_cast<double>(unit.unit);
  results.truncated_logprobs[n] =
      static_cast<float>(static_cast<double>((logit - softmax.max) * scale) - log(mass));
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

#include "kernels/sampling.h"

#include "kernels/common/philox.h"
#include "kernels/sampling_filter.cuh"

/// A block to each row: its warps sum the slices, and one of them draws. With a filter, the block
/// first selects the tokens that may be drawn.
namespace r1::kernels {
namespace {

/// Two blocks to a multiprocessor, by registers and by the rings' shared memory: one draws while
/// the other reads.
template <class Element>
constexpr int kMostWarps = sizeof(Element) == 2 ? 16 : 10;
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

/// The sums of a row's slices; afterwards every thread of the block sees them all, and the rings
/// are free.
template <class Element>
__device__ void sum_slices(const Row<Element>& row, Element* rings, SliceSums* sums) {
  row.stream_slices(rings, [&](int slice, const Element* logits) {
    float x[kSliceVectors][kVector];
    read_slice(logits, x);
    const SliceSums of_slice = slice_sums(x, row.scale);
    if (lane_of_thread() == 0) sums[slice] = of_slice;
  });
  __syncthreads();
}

template <class Element>
__global__ void __launch_bounds__(2 * kMostWarps<Element> * kWarp)
    sample_kernel(const Element* logits, int vocab, float scale, const double* uniforms,
                  Results results) {
  R1_DYNAMIC_SHARED(memory);
  auto* const rings = reinterpret_cast<Element*>(memory);
  auto* const sums = reinterpret_cast<SliceSums*>(memory + ring_bytes<Element>(warps_of_block()));
  const std::int64_t n = blockIdx.x;
  const Row<Element> row(logits, n, vocab, scale);
  sum_slices(row, rings, sums);
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

/// Bytes of shared memory for the rings, and later for the selection.
template <class Element>
R1_HOST_DEVICE constexpr std::size_t space_bytes(int warps) {
  const std::size_t rings = ring_bytes<Element>(warps);
  return rings > sizeof(Selection) ? rings : (sizeof(Selection) + 15) / 16 * 16;
}

template <class Element>
__global__ void __launch_bounds__(kMostWarps<Element>* kWarp, kLeastBlocks)
    sample_filtered_kernel(const Element* logits, int vocab, float scale, SamplingFilter filter,
                           const double* uniforms, Results results) {
  R1_DYNAMIC_SHARED(memory);
  __shared__ SoftmaxRow softmax_of_row;
  Selection& space = *reinterpret_cast<Selection*>(memory);
  const std::int64_t n = blockIdx.x;
  const Row<Element> row(logits, n, vocab, scale);
  auto* const by_slice = reinterpret_cast<Amount*>(memory + space_bytes<Element>(warps_of_block()));
  auto* const sums = reinterpret_cast<SliceSums*>(by_slice + row.slices);
  sum_slices(row, reinterpret_cast<Element*>(memory), sums);
  if (warp_of_thread() == 0) {
    const SoftmaxRow of_row =
        combine_slices(row.slices, scale, [&](std::int64_t i) { return sums[i]; });
    if (lane_of_thread() == 0) softmax_of_row = of_row;
  }
  __syncthreads();  // the row's softmax is there
  const SoftmaxRow softmax = softmax_of_row;
  if (softmax.sum != softmax.sum) {
    if (threadIdx.x == 0) results.no_distribution(n);
    return;
  }
  const Unit unit(softmax, scale);
  const Filter<Element> by{row, sums, unit, filter, by_slice, space};
  if (threadIdx.x == 0) space.summed = 0;
  __syncthreads();  // it is 0
  const Threshold threshold = by(softmax.sum);
  const auto kept = [&](float x, int id) { return by.kept(threshold, x, id); };
  const Amount total =
      space.summed && !(filter.min_p > 0)
          ? block_total(row.slices, space, [&](int slice) { return by_slice[slice]; })
          : by.sum(threshold, kept);
  auto target = static_cast<Amount>(fmin(fmax(uniforms[n], 0.), 1.) * static_cast<double>(total));
  if (target >= total) target = total - 1;
  const Place place =
      find(row.slices, target + 1, space, [&](int slice) { return by_slice[slice]; });
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

/// As many warps as leave the fewest idle in the last round over the slices.
int warps_for(std::int64_t slices, int most) {
  return static_cast<int>(ceil_div(slices, ceil_div(slices, most)));
}

template <class Element>
int sample(const Element* logits, std::int64_t rows, std::int64_t vocab, SamplingFilter filter,
           const double* uniforms, const Results& results, CudaStream stream) {
  if (vocab > kSampleMostVocab) return cudaErrorInvalidValue;
  int granted = 0;
  const int error = most_shared(granted);
  if (error) return error;
  const float scale = 1.f / filter.temperature;
  const std::int64_t slices = ceil_div(vocab, kSlice);
  const bool filters =
      (filter.top_k > 0 && filter.top_k < vocab) || filter.top_p < 1 || filter.min_p > 0;
  const auto by_slices = static_cast<std::size_t>(slices) *
                         (sizeof(SliceSums) + (filters ? sizeof(Amount) : std::size_t{0}));
  const auto bytes = [&](int warps) {
    return by_slices + (filters ? space_bytes<Element>(warps) : ring_bytes<Element>(warps));
  };
  int most = filters           ? kMostWarps<Element>
             : rows > kFewRows ? kMostWarps<Element>
                               : 2 * kMostWarps<Element>;
  while (most > 1 && bytes(warps_for(slices, most)) + 1024 > static_cast<std::size_t>(granted))
    --most;
  const int warps = warps_for(slices, most);
  const LaunchShape shape{rows, warps * kWarp, bytes(warps)};
  return filters ? launch(shape, stream, &sample_filtered_kernel<Element>, logits, vocab, scale,
                          filter, uniforms, results)
                 : launch(shape, stream, &sample_kernel<Element>, logits, vocab, scale, uniforms,
                          results);
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

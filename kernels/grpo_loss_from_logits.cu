#include <cooperative_groups.h>
#include <cuda_pipeline.h>

#include "kernels/common/softmax.cuh"
#include "kernels/grpo_loss.h"
#include "kernels/grpo_terms.h"

/// One read of the logits, one write of their gradient. The blocks of a cluster hold a row between
/// them; each warp sums its slices as their copies arrive; the blocks tell each other their sums;
/// then each warp turns its slices into the gradient. Clusters go from row to row, and the next row
/// is on its way while this one is computed: without that all blocks would load at one time and
/// compute at another. Every lane reads back only what it copied itself, so copies need no barrier.
namespace r1::kernels {
namespace {

namespace cg = cooperative_groups;
using namespace R1_ISA;  // the formulas

constexpr int kMostWarps = 12, kBlocksPerProcessor = 2;
constexpr int kMostCluster = 8, kBuffers = 2;
/// Bytes of a row that a block holds, as far as clusters allow: with two rows each, two blocks fit
/// a multiprocessor of Hopper (228 KB), and while one waits for its cluster the other computes.
constexpr std::int64_t kRowBytes = 48 * 1024;

/// What a block does of each row.
struct Part {
  std::int64_t vocab, slices;  // of a row
  std::int64_t most;           // slices that a block holds
  std::int64_t first, end;     // this block's

  __device__ Part(std::int64_t vocab, int cluster, unsigned rank)
      : vocab(vocab), slices(ceil_div(vocab, kSlice)), most(ceil_div(slices, cluster)) {
    first = rank * most;
    end = first + most < slices ? first + most : slices;
  }
  __device__ std::int64_t count(std::int64_t slice) const {
    const std::int64_t left = vocab - slice * kSlice;
    return left < kSlice ? left : kSlice;
  }
  /// Calls body(slice) for this warp's.
  template <class Body>
  __device__ void for_slices(const Body& body) const {
    for (std::int64_t s = first + warp_of_thread(); s < end; s += warps_of_block()) body(s);
  }
};

/// What a launch does; the same for every block.
template <class Element, class Gradient>
struct Call {
  const Element* logits;
  const std::int64_t* ids;
  std::int64_t rows, vocab;
  float scale;  // 1 / temperature
  GrpoTokens tokens;
  GrpoLossOptions options;
  float entropy_weight;
  Gradient* gradient;
  double* workspace;

  __device__ bool counts(std::int64_t row) const { return tokens.weights[row] != 0; }

  /// The token's logit, to be read before the gradient overwrites it.
  __device__ float token_logit(std::int64_t row) const {
    return logit_of(logits + row * vocab, ids[row], vocab);
  }

  /// Gradient and sums of a row that does not count.
  __device__ void clear(std::int64_t row, const Part& part, unsigned rank) const {
    const float zeros[kVector] = {};
    const bool aligned = is_aligned(gradient, vocab);
    part.for_slices([&](std::int64_t s) {
      for_vectors(part.count(s), [&](int, int at, std::int64_t left) {
        if (left > 0) store_vector(gradient + row * vocab + s * kSlice + at, left, aligned, zeros);
      });
    });
    if (rank == 0 && threadIdx.x < kLossSums) workspace[row * kLossSums + threadIdx.x] = 0;
  }

  /// The loss of a row's token, which `notes` writes down, and the gradient; by a whole warp.
  template <class Slice>
  __device__ RowGradient score(std::int64_t row, const Slice& slice, float logit,
                               bool notes) const {
    const SoftmaxRow softmax = combine_slices(ceil_div(vocab, kSlice), scale, slice);
    const double logprob = static_cast<double>(logprob_of(softmax, logit, scale));
    const double log_ratio = log_ratio_of(logprob, tokens, row);
    GrpoLossSums sums{};
    const Term term = add_token(logprob, log_ratio, tokens, row, options, sums);
    const float entropy = entropy_of(softmax);
    const double all[kLossSums] = {sums.loss,         sums.kl,
                                   sums.tokens,       sums.low_clipped,
                                   sums.high_clipped, static_cast<double>(entropy)};
    if (notes && lane_of_thread() == 0)
      for (int i = 0; i < kLossSums; ++i) workspace[row * kLossSums + i] = all[i];
    return row_gradient(
        softmax.max, static_cast<float>(softmax.sum), static_cast<float>(softmax.log_sum), entropy,
        static_cast<float>(term.by_logprob + term.by_log_ratio), -entropy_weight, scale);
  }

  /// @param held   the row's logits from slice `held_from` on
  /// @param logit  the token's
  __device__ void differentiate(std::int64_t row, const Part& part, const RowGradient& of_row,
                                const Element* held, std::int64_t held_from, bool held_aligned,
                                float logit) const {
    Gradient* const to = gradient + row * vocab;
    const bool aligned = is_aligned(gradient, vocab);
    const std::int64_t token = ids[row];
    part.for_slices([&](std::int64_t s) {
      const std::int64_t begin = s * kSlice;
      const Element* const from = held + (s - held_from) * kSlice;
      for_vectors(part.count(s), [&](int, int at, std::int64_t left) {
        if (left <= 0) return;
        float x[kVector];
        load_vector(from + at, left, held_aligned, 0.f, x);
        of_row.apply(x);
        store_vector(to + begin + at, left, aligned, x);
        const std::int64_t own = token - begin - at;  // in this lane's hands, so stored after
        if (own >= 0 && own < kVector && own < left)
          to[token] = from_float<Gradient>(of_row.at_token(logit));
      });
    });
  }
};

/// Where the blocks of a row meet, and the sums of a slice, of `most` in each block.
template <bool Clustered>
struct Meeting {
  __device__ static unsigned rank() { return 0; }
  __device__ static void meet() { __syncthreads(); }
  __device__ static SliceSums sums_of(SliceSums* sums, std::int64_t slice, std::int64_t) {
    return sums[slice];
  }
};
#if defined(R1_EMULATION) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
template <>
struct Meeting<true> {
  __device__ static unsigned rank() { return cg::this_cluster().block_rank(); }
  __device__ static void meet() { cg::this_cluster().sync(); }
  __device__ static SliceSums sums_of(SliceSums* sums, std::int64_t slice, std::int64_t most) {
    const auto block = static_cast<unsigned>(slice / most);
    return cg::this_cluster().map_shared_rank(sums, block)[slice % most];
  }
};
#endif

/// Starts this lane's copies of a slice.
template <class Element>
__device__ void copy_slice(const Element* from, std::int64_t count, bool aligned, Element* to) {
  constexpr int kPerCopy = 16 / sizeof(Element);
  for_vectors(count, [&](int, int at, std::int64_t left) {
    if (aligned && left >= kVector) {
#pragma unroll
      for (int i = 0; i < kVector; i += kPerCopy)
        __pipeline_memcpy_async(to + at + i, from + at + i, 16);
    } else {
      for (int i = 0; i < kVector && i < left; ++i) to[at + i] = from[at + i];
    }
  });
  __pipeline_commit();
}

/// Bytes of shared memory before the rows: the sums of the block's slices.
R1_HOST_DEVICE constexpr std::int64_t sums_bytes(std::int64_t slices) {
  return ceil_div(slices * static_cast<std::int64_t>(sizeof(SliceSums)), 16) * 16;
}

/// Rows in the shared memory of a cluster, or of one block, one after the other.
template <class Element, class Gradient, bool Clustered>
__global__ void __launch_bounds__(kMostWarps* kWarp, kBlocksPerProcessor)
    resident_kernel(Call<Element, Gradient> call, int cluster) {
  R1_DYNAMIC_SHARED(memory);
  __shared__ RowGradient of_row;
  using Blocks = Meeting<Clustered>;
  const unsigned rank = Blocks::rank();
  const Part part(call.vocab, cluster, rank);
  auto* const sums = reinterpret_cast<SliceSums*>(memory);
  auto* const buffers = reinterpret_cast<Element*>(memory + sums_bytes(part.most));
  const bool aligned = is_aligned(call.logits, call.vocab);
  const std::int64_t clusters = gridDim.x / static_cast<unsigned>(cluster);

  int slices = 0;  // of this warp: as many groups of copies a row, and none of them empty-handed
  part.for_slices([&](std::int64_t) { ++slices; });
  const auto fetch = [&](std::int64_t row, int buffer) {
    const bool wanted = row < call.rows && call.counts(row);
    Element* const to = buffers + (buffer * part.most - part.first) * kSlice;
    const Element* const from = call.logits + row * call.vocab;
    part.for_slices([&](std::int64_t s) {
      copy_slice(from + s * kSlice, wanted ? part.count(s) : 0, aligned, to + s * kSlice);
    });
  };
  std::int64_t row = blockIdx.x / static_cast<unsigned>(cluster);
  fetch(row, 0);
  for (int buffer = 0; row < call.rows; row += clusters, buffer ^= 1) {
    fetch(row + clusters, buffer ^ 1);
    if (!call.counts(row)) {  // for the whole cluster
      call.clear(row, part, rank);
      continue;
    }
    const Element* const held = buffers + buffer * part.most * kSlice;
    const float logit = call.token_logit(row);
    int waiting = 2 * slices;  // groups, of this row and of the next
    part.for_slices([&](std::int64_t s) {
      __pipeline_wait_prior(static_cast<std::size_t>(--waiting));
      const std::int64_t own = s - part.first;
      const SliceSums slice = slice_sums(held + own * kSlice, part.count(s), call.scale, true);
      if (lane_of_thread() == 0) sums[own] = slice;
    });
    Blocks::meet();  // every block's sums are there
    if (warp_of_thread() == 0) {
      const auto slice = [&](std::int64_t i) { return Blocks::sums_of(sums, i, part.most); };
      const RowGradient result = call.score(row, slice, logit, rank == 0);
      if (lane_of_thread() == 0) of_row = result;
    }
    Blocks::meet();  // nobody overwrites its sums, or leaves, while others read them
    call.differentiate(row, part, of_row, held, part.first, true, logit);
  }
}

/// Rows that no shared memory holds: read twice, a block to each.
template <class Element, class Gradient>
__global__ void __launch_bounds__(kMostWarps* kWarp)
    two_reads_kernel(Call<Element, Gradient> call) {
  R1_DYNAMIC_SHARED(memory);
  __shared__ RowGradient of_row;
  const Part part(call.vocab, 1, 0);
  const std::int64_t row = blockIdx.x;
  if (!call.counts(row)) return call.clear(row, part, 0);
  auto* const sums = reinterpret_cast<SliceSums*>(memory);
  const Element* const logits = call.logits + row * call.vocab;
  const bool aligned = is_aligned(call.logits, call.vocab);
  const float logit = call.token_logit(row);
  part.for_slices([&](std::int64_t s) {
    const SliceSums slice = slice_sums(logits + s * kSlice, part.count(s), call.scale, aligned);
    if (lane_of_thread() == 0) sums[s] = slice;
  });
  __syncthreads();  // the sums are there
  if (warp_of_thread() == 0) {
    const auto slice = [&](std::int64_t i) { return sums[i]; };
    const RowGradient result = call.score(row, slice, logit, true);
    if (lane_of_thread() == 0) of_row = result;
  }
  __syncthreads();  // the gradient is there
  call.differentiate(row, part, of_row, logits, 0, aligned, logit);
}

/// How a row is held.
struct Plan {
  int cluster;  // blocks of a row; 0: it is read twice
  int threads;
  std::size_t shared;
};

Plan plan_row(std::int64_t vocab, std::size_t element, int most_bytes, int major) {
  const std::int64_t slices = ceil_div(vocab, kSlice);
  const std::int64_t bytes = static_cast<std::int64_t>(element) * kSlice;
  int cluster = 1;  // before Hopper there are no others
  while (major >= 9 && cluster < kMostCluster && ceil_div(slices, cluster) * bytes > kRowBytes)
    cluster *= 2;
  const std::int64_t part = ceil_div(slices, cluster);
  const std::int64_t held = sums_bytes(part) + kBuffers * part * bytes;
  const bool fits = held <= most_bytes - 1024;  // but for what the kernel itself shares
  // No more warps than the slowest one needs: 19 slices take two rounds by 10 warps as by 12.
  const std::int64_t own = fits ? part : slices;
  const std::int64_t warps = ceil_div(own, ceil_div(own, kMostWarps));
  return {fits ? cluster : 0, static_cast<int>(warps) * kWarp,
          static_cast<std::size_t>(fits ? held : sums_bytes(slices))};
}

/// As many clusters as the GPU holds at a time, each for many rows.
template <class Kernel, class Call>
int launch_resident(Kernel kernel, const Plan& plan, const Call& call, CudaStream stream) {
  LaunchShape shape{plan.cluster, plan.threads, plan.shared, plan.cluster};
  int clusters = 0;
  const int error = most_clusters(shape, kernel, clusters);
  if (error) return error;
  shape.blocks *= clusters < call.rows ? clusters : call.rows;
  return launch(shape, stream, kernel, call, plan.cluster);
}

template <class Element, class Gradient>
int run(const Call<Element, Gradient>& call, CudaStream stream) {
  if (call.rows == 0) return cudaSuccess;
  int most_bytes = 0, major = 0;
  const int error = device_limits(most_bytes, major);
  if (error) return error;
  const Plan plan = plan_row(call.vocab, sizeof(Element), most_bytes, major);
  if (plan.cluster == 0)
    return launch({call.rows, plan.threads, plan.shared}, stream,
                  &two_reads_kernel<Element, Gradient>, call);
  if (plan.cluster == 1)
    return launch_resident(&resident_kernel<Element, Gradient, false>, plan, call, stream);
  return launch_resident(&resident_kernel<Element, Gradient, true>, plan, call, stream);
}

}  // namespace

int grpo_loss_from_logits_cuda(const float* logits, const std::int64_t* ids, std::int64_t rows,
                               std::int64_t vocab, float temperature, const GrpoTokens& tokens,
                               const GrpoLossOptions& options, float entropy_weight,
                               float* gradient, double* workspace, CudaStream stream) {
  return run(Call<float, float>{logits, ids, rows, vocab, 1.f / temperature, tokens, options,
                                entropy_weight, gradient, workspace},
             stream);
}

int grpo_loss_from_logits_bf16_cuda(const bf16* logits, const std::int64_t* ids, std::int64_t rows,
                                    std::int64_t vocab, float temperature, const GrpoTokens& tokens,
                                    const GrpoLossOptions& options, float entropy_weight,
                                    bf16* gradient, double* workspace, CudaStream stream) {
  return run(Call<bf16, bf16>{logits, ids, rows, vocab, 1.f / temperature, tokens, options,
                              entropy_weight, gradient, workspace},
             stream);
}

int grpo_loss_from_logits_narrow_cuda(const float* logits, const std::int64_t* ids,
                                      std::int64_t rows, std::int64_t vocab, float temperature,
                                      const GrpoTokens& tokens, const GrpoLossOptions& options,
                                      float entropy_weight, bf16* gradient, double* workspace,
                                      CudaStream stream) {
  return run(Call<float, bf16>{logits, ids, rows, vocab, 1.f / temperature, tokens, options,
                               entropy_weight, gradient, workspace},
             stream);
}

}  // namespace r1::kernels

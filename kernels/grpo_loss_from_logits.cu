#include <cooperative_groups.h>
#include <cuda_pipeline.h>

#include "kernels/common/softmax.cuh"
#include "kernels/grpo_loss.h"
#include "kernels/grpo_terms.h"

/// One read of the logits, one write of their gradient. The blocks of a cluster hold a row between
/// them; each warp copies its slices into shared memory, all at once, and sums them as they arrive;
/// the blocks tell each other their slices' sums; then each warp turns its slices into the
/// gradient. Every lane reads back only what it wrote itself, so the copy needs no barrier.
namespace r1::kernels {
namespace {

namespace cg = cooperative_groups;
using namespace R1_ISA;  // the formulas

constexpr int kMostThreads = 512, kBlocksPerProcessor = 2;
constexpr int kMostCluster = 8;
/// Bytes of a row that a block holds: two blocks fit a multiprocessor of Hopper (228 KB), so one
/// loads while the other computes or stores.
constexpr std::int64_t kRowBytes = 80 * 1024;

/// A row's place among the blocks.
struct Part {
  std::int64_t row, slices;  // of the row
  std::int64_t first, end;   // this block's slices
  std::int64_t most;         // slices that a block holds
  std::int64_t vocab;

  __device__ Part(std::int64_t vocab, int cluster, unsigned rank)
      : row(blockIdx.x / cluster), slices(ceil_div(vocab, kSlice)), vocab(vocab) {
    most = ceil_div(slices, cluster);
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

/// Starts this lane's copies of a slice.
template <class Element>
__device__ void copy_slice(const Element* from, std::int64_t count, bool aligned, Element* to) {
  for_vectors(count, [&](int, int at, std::int64_t left) {
    constexpr int kPerCopy = 16 / sizeof(Element);
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

/// Fills the row's gradient with 0.
template <class Gradient>
__device__ void clear(const Part& part, Gradient* gradient, bool aligned) {
  const float zeros[kVector] = {};
  part.for_slices([&](std::int64_t s) {
    for_vectors(part.count(s), [&](int, int at, std::int64_t left) {
      if (left > 0) store_vector(gradient + s * kSlice + at, left, aligned, zeros);
    });
  });
}

/// The loss of a row's token, noted by whoever has a workspace, and the gradient; by a whole warp.
template <class Slice>
__device__ RowGradient score(const Part& part, float scale, float logit, const GrpoTokens& tokens,
                             const GrpoLossOptions& options, float entropy_weight,
                             const Slice& slice, double* workspace) {
  const SoftmaxRow softmax = combine_slices(part.slices, scale, slice);
  const double logprob = static_cast<double>(logprob_of(softmax, logit, scale));
  GrpoLossSums sums{};
  const Term term =
      add_token(logprob, log_ratio_of(logprob, tokens, part.row), tokens, part.row, options, sums);
  const float entropy = entropy_of(softmax);
  const double all[kLossSums] = {sums.loss,        sums.kl,           sums.tokens,
                                 sums.low_clipped, sums.high_clipped, static_cast<double>(entropy)};
  if (workspace && lane_of_thread() == 0)
    for (int i = 0; i < kLossSums; ++i) workspace[part.row * kLossSums + i] = all[i];
  return row_gradient(
      softmax.max, static_cast<float>(softmax.sum), static_cast<float>(softmax.log_sum), entropy,
      static_cast<float>(term.by_logprob + term.by_log_ratio), -entropy_weight, scale);
}

/// What a launch does; the same for every block.
template <class Element, class Gradient>
struct Call {
  const Element* logits;
  const std::int64_t* ids;
  std::int64_t vocab;
  float scale;
  GrpoTokens tokens;
  GrpoLossOptions options;
  float entropy_weight;
  Gradient* gradient;
  double* workspace;
};

template <class Element, class Gradient>
__device__ void differentiate(const Call<Element, Gradient>& call, const Part& part,
                              const RowGradient& of_row, const Element* held,
                              std::int64_t held_from, bool aligned) {
  Gradient* const gradient = call.gradient + part.row * call.vocab;
  const bool stores_aligned = is_aligned(call.gradient, call.vocab);
  part.for_slices([&](std::int64_t s) {
    const std::int64_t token = call.ids[part.row] - s * kSlice;
    const Element* const from = held + (s - held_from) * kSlice;
    for_vectors(part.count(s), [&](int, int at, std::int64_t left) {
      if (left <= 0) return;
      float x[kVector];
      load_vector(from + at, left, aligned, 0.f, x);
      of_row.apply(at, token, x);
      store_vector(gradient + s * kSlice + at, left, stores_aligned, x);
    });
  });
}

/// A row in the shared memory of a cluster (of one block, where it fits one).
template <class Element, class Gradient, bool Clustered>
__global__ void __launch_bounds__(kMostThreads, kBlocksPerProcessor)
    resident_kernel(Call<Element, Gradient> call, int cluster) {
  R1_DYNAMIC_SHARED(memory);
  __shared__ RowGradient shared;
  unsigned rank = 0;
#if defined(R1_EMULATION) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
  if constexpr (Clustered) rank = cg::this_cluster().block_rank();
#endif
  const Part part(call.vocab, cluster, rank);
  if (call.tokens.weights[part.row] == 0) {  // the whole cluster leaves
    clear(part, call.gradient + part.row * call.vocab, is_aligned(call.gradient, call.vocab));
    if (rank == 0 && threadIdx.x < kLossSums)
      call.workspace[part.row * kLossSums + threadIdx.x] = 0;
    return;
  }
  auto* const sums = reinterpret_cast<SliceSums*>(memory);
  auto* const held =
      reinterpret_cast<Element*>(memory + ceil_div(part.most * sizeof(SliceSums), 16) * 16);
  const Element* const row = call.logits + part.row * call.vocab;
  const bool aligned = is_aligned(call.logits, call.vocab);
  const float logit = logit_of(row, call.ids[part.row], call.vocab);  // before it is overwritten

  int waiting = 0;
  part.for_slices([&](std::int64_t s) {
    copy_slice(row + s * kSlice, part.count(s), aligned, held + (s - part.first) * kSlice);
    ++waiting;
  });
  part.for_slices([&](std::int64_t s) {
    __pipeline_wait_prior(--waiting);
    const SliceSums slice =
        slice_sums(held + (s - part.first) * kSlice, part.count(s), call.scale, true);
    if (lane_of_thread() == 0) sums[s - part.first] = slice;
  });

  const auto score_with = [&](const auto& slice) {
    if (warp_of_thread() != 0) return;
    const RowGradient result =
        score(part, call.scale, logit, call.tokens, call.options, call.entropy_weight, slice,
              rank == 0 ? call.workspace : nullptr);
    if (lane_of_thread() == 0) shared = result;
  };
#if defined(R1_EMULATION) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
  if constexpr (Clustered) {
    const cg::cluster_group blocks = cg::this_cluster();
    blocks.sync();  // every block's sums are there
    score_with([&](std::int64_t i) {
      return blocks.map_shared_rank(sums, static_cast<unsigned>(i / part.most))[i % part.most];
    });
    blocks.sync();  // nobody leaves, or goes on, while others read its sums
  } else
#endif
  {
    __syncthreads();
    score_with([&](std::int64_t i) { return sums[i]; });
    __syncthreads();
  }
  differentiate(call, part, shared, held, part.first, true);
}

/// A row that no shared memory holds: read twice, by one block.
template <class Element, class Gradient>
__global__ void __launch_bounds__(kMostThreads) two_reads_kernel(Call<Element, Gradient> call) {
  R1_DYNAMIC_SHARED(memory);
  __shared__ RowGradient shared;
  const Part part(call.vocab, 1, 0);
  if (call.tokens.weights[part.row] == 0) {
    clear(part, call.gradient + part.row * call.vocab, is_aligned(call.gradient, call.vocab));
    if (threadIdx.x < kLossSums) call.workspace[part.row * kLossSums + threadIdx.x] = 0;
    return;
  }
  auto* const sums = reinterpret_cast<SliceSums*>(memory);
  const Element* const row = call.logits + part.row * call.vocab;
  const bool aligned = is_aligned(call.logits, call.vocab);
  const float logit = logit_of(row, call.ids[part.row], call.vocab);
  part.for_slices([&](std::int64_t s) {
    const SliceSums slice = slice_sums(row + s * kSlice, part.count(s), call.scale, aligned);
    if (lane_of_thread() == 0) sums[s] = slice;
  });
  __syncthreads();  // the sums are there
  if (warp_of_thread() == 0) {
    const RowGradient result = score(
        part, call.scale, logit, call.tokens, call.options, call.entropy_weight,
        [&](std::int64_t i) { return sums[i]; }, call.workspace);
    if (lane_of_thread() == 0) shared = result;
  }
  __syncthreads();
  differentiate(call, part, shared, row, 0, aligned);
}

/// How a row is held.
struct Plan {
  int cluster;  // blocks of a row; 0: it is read twice
  int threads;
  std::size_t shared;
};

int most_shared(int& bytes, int& major) {
  int device = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error == cudaSuccess)
    error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  return error;
}

Plan plan_row(std::int64_t vocab, std::size_t element, int most_bytes, int major) {
  const std::int64_t slices = ceil_div(vocab, kSlice);
  const auto bytes = static_cast<std::int64_t>(element) * kSlice;
  const auto held = [&](std::int64_t count) {
    return ceil_div(count * static_cast<std::int64_t>(sizeof(SliceSums)), 16) * 16 + count * bytes;
  };
  // Before Hopper there are no clusters, and a block may take what a multiprocessor has.
  const std::int64_t limit = major >= 9 ? kRowBytes : most_bytes - 2048;
  int cluster = 1;
  while (cluster < kMostCluster && major >= 9 && held(ceil_div(slices, cluster)) > limit)
    cluster *= 2;
  const std::int64_t part = ceil_div(slices, cluster);
  const bool fits = held(part) <= (major >= 9 ? most_bytes - 2048 : limit);
  const std::int64_t warps = fits ? part : slices;
  const std::int64_t most_warps = kMostThreads / kWarp;
  return {fits ? cluster : 0, static_cast<int>(warps < most_warps ? warps : most_warps) * kWarp,
          static_cast<std::size_t>(fits ? held(part)
                                        : slices * static_cast<std::int64_t>(sizeof(SliceSums)))};
}

template <class Element, class Gradient>
int run(const Call<Element, Gradient>& call, std::int64_t rows, CudaStream stream) {
  if (rows == 0) return cudaSuccess;
  int most_bytes = 0, major = 0;
  const int error = most_shared(most_bytes, major);
  if (error) return error;
  const Plan plan = plan_row(call.vocab, sizeof(Element), most_bytes, major);
  if (plan.cluster == 0)
    return launch({rows, plan.threads, plan.shared}, stream, &two_reads_kernel<Element, Gradient>,
                  call);
  const LaunchShape shape{rows * plan.cluster, plan.threads, plan.shared, plan.cluster};
  if (plan.cluster == 1)
    return launch(shape, stream, &resident_kernel<Element, Gradient, false>, call, 1);
  return launch(shape, stream, &resident_kernel<Element, Gradient, true>, call, plan.cluster);
}

}  // namespace

int grpo_loss_from_logits_cuda(const float* logits, const std::int64_t* ids, std::int64_t rows,
                               std::int64_t vocab, float temperature, const GrpoTokens& tokens,
                               const GrpoLossOptions& options, float entropy_weight,
                               float* gradient, double* workspace, CudaStream stream) {
  return run(Call<float, float>{logits, ids, vocab, 1.f / temperature, tokens, options,
                                entropy_weight, gradient, workspace},
             rows, stream);
}

int grpo_loss_from_logits_bf16_cuda(const bf16* logits, const std::int64_t* ids, std::int64_t rows,
                                    std::int64_t vocab, float temperature, const GrpoTokens& tokens,
                                    const GrpoLossOptions& options, float entropy_weight,
                                    bf16* gradient, double* workspace, CudaStream stream) {
  return run(Call<bf16, bf16>{logits, ids, vocab, 1.f / temperature, tokens, options,
                              entropy_weight, gradient, workspace},
             rows, stream);
}

int grpo_loss_from_logits_narrow_cuda(const float* logits, const std::int64_t* ids,
                                      std::int64_t rows, std::int64_t vocab, float temperature,
                                      const GrpoTokens& tokens, const GrpoLossOptions& options,
                                      float entropy_weight, bf16* gradient, double* workspace,
                                      CudaStream stream) {
  return run(Call<float, bf16>{logits, ids, vocab, 1.f / temperature, tokens, options,
                               entropy_weight, gradient, workspace},
             rows, stream);
}

}  // namespace r1::kernels

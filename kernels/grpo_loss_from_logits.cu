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

constexpr int kMostWarps = 10, kBlocksPerProcessor = 2;
constexpr int kMostCluster = 16, kBuffers = 2;
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
  Gradient* gradient;  // or null
  float* logprobs;     // or null
  double* workspace;

  /// Of no row, 0.
  __device__ double weight(std::int64_t row) const { return row < rows ? tokens.weights[row] : 0; }

  /// Gradient and sums of a row that does not count.
  __device__ void clear(std::int64_t row, const Part& part, unsigned rank) const {
    const float zeros[kVector] = {};
    const bool aligned = is_aligned(gradient, vocab);
    part.for_slices([&](std::int64_t s) {
      for_vectors(part.count(s), [&](int, int at, std::int64_t left) {
        if (!gradient || left <= 0) return;
        store_vector(gradient + row * vocab + s * kSlice + at, left, aligned, zeros);
      });
    });
    if (rank != 0) return;
    if (threadIdx.x < kLossSums) workspace[row * kLossSums + threadIdx.x] = 0;
    if (logprobs && threadIdx.x == 0) logprobs[row] = 0;
  }

  /// The loss of a row's token, which `notes` writes down, and the gradient; by a whole warp.
  template <class Slice>
  __device__ RowGradient score(std::int64_t row, const TokenInputs& token, const Slice& slice,
                               float logit, bool notes) const {
    const SoftmaxRow softmax = combine_slices(ceil_div(vocab, kSlice), scale, slice);
    const float rounded = logprob_of(softmax, logit, scale);
    const double logprob = static_cast<double>(rounded);
    const double log_ratio = log_ratio_of(logprob, token);
    GrpoLossSums sums{};
    const Term term = add_token(logprob, log_ratio, token, options, sums);
    const float entropy = entropy_of(softmax);
    const double all[kLossSums] = {sums.loss,         sums.kl,
                                   sums.tokens,       sums.low_clipped,
                                   sums.high_clipped, static_cast<double>(entropy)};
    if (notes && lane_of_thread() == 0) {
      for (int i = 0; i < kLossSums; ++i) workspace[row * kLossSums + i] = all[i];
      if (logprobs) logprobs[row] = rounded;
    }
    return row_gradient(
        softmax.max, static_cast<float>(softmax.sum), static_cast<float>(softmax.log_sum), entropy,
        static_cast<float>(term.by_logprob + term.by_log_ratio), -entropy_weight, scale);
  }

  /// @param held      the row's logits from slice `held_from` on
  /// @param token     its id
  /// @param at_token  the gradient there
  __device__ void differentiate(std::int64_t row, const Part& part, const RowGradient& of_row,
                                const Element* held, std::int64_t held_from, bool held_aligned,
                                std::int64_t token, float at_token) const {
    if (!gradient) return;
    Gradient* const to = gradient + row * vocab;
    const bool aligned = is_aligned(gradient, vocab);
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
        if (own >= 0 && own < kVector && own < left) to[token] = from_float<Gradient>(at_token);
      });
    });
  }
};

/// Where the blocks of a row meet, and where another block holds what lies here in this one.
template <bool Clustered>
struct Meeting {
  __device__ static unsigned rank() { return 0; }
  __device__ static void meet() { __syncthreads(); }
  template <class T>
  __device__ static T* in_block(T* here, unsigned) {
    return here;
  }
};
#if defined(R1_EMULATION) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
template <>
struct Meeting<true> {
  __device__ static unsigned rank() { return cg::this_cluster().block_rank(); }
  __device__ static void meet() { cg::this_cluster().sync(); }
  template <class T>
  __device__ static T* in_block(T* here, unsigned rank) {
    return cg::this_cluster().map_shared_rank(here, rank);
  }
};
#else
/// Of code for older GPUs, which no launcher starts in clusters.
template <>
struct Meeting<true> : Meeting<false> {
  __device__ static unsigned rank() {
    __trap();
    return 0;
  }
};
#endif

/// Starts this lane's copies of a slice of `count` logits, as one group: the vectors that it will
/// read itself, so that they need no barrier, where `copy_slice` lets lanes read each other's.
/// Nothing is filled in beyond `count`.
template <class Element>
__device__ void copy_own_vectors(const Element* from, std::int64_t count, bool aligned,
                                 Element* to) {
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

/// What warp 0 finds of a row.
struct Found {
  RowGradient of_row;
  float at_token;
};

/// Rows in the shared memory of a cluster, or of one block, one after the other. A thread waits
/// where it uses what it loads, so whether a row counts is read a row ahead, and its token early.
template <class Element, class Gradient, bool Clustered>
__global__ void __launch_bounds__(kMostWarps* kWarp, kBlocksPerProcessor)
    resident_kernel(Call<Element, Gradient> call, int cluster) {
  R1_DYNAMIC_SHARED(memory);
  __shared__ Found found;
  using Blocks = Meeting<Clustered>;
  const unsigned rank = Blocks::rank();
  const Part part(call.vocab, cluster, rank);
  auto* const sums = reinterpret_cast<SliceSums*>(memory);
  auto* const buffers = reinterpret_cast<Element*>(memory + sums_bytes(part.most));
  const bool aligned = is_aligned(call.logits, call.vocab);
  const std::int64_t clusters = gridDim.x / static_cast<unsigned>(cluster);
  const float inverse_most = 1.f / static_cast<float>(part.most);
  const auto block_of = [&](std::int64_t slice) {  // slice / most, exact below 2^22
    return static_cast<unsigned>((static_cast<float>(slice) + 0.5f) * inverse_most);
  };

  int slices = 0;  // of this warp: as many groups of copies a row, though it may not count
  part.for_slices([&](std::int64_t) { ++slices; });
  const auto fetch = [&](std::int64_t row, bool counts, int buffer) {
    Element* const to = buffers + (buffer * part.most - part.first) * kSlice;
    const Element* const from = call.logits + row * call.vocab;
    part.for_slices([&](std::int64_t s) {
      copy_own_vectors(from + s * kSlice, counts ? part.count(s) : 0, aligned, to + s * kSlice);
    });
  };
  std::int64_t row = blockIdx.x / static_cast<unsigned>(cluster);
  double weight = call.weight(row), next = call.weight(row + clusters);
  fetch(row, weight != 0, 0);
  for (int buffer = 0; row < call.rows; row += clusters, buffer ^= 1) {
    const double later = call.weight(row + 2 * clusters);
    fetch(row + clusters, next != 0, buffer ^ 1);
    Element* const held = buffers + buffer * part.most * kSlice;
    if (weight != 0) {  // for the whole cluster
      const TokenInputs token = token_inputs(call.tokens, row);
      const std::int64_t id = call.ids[row];
      int waiting = 2 * slices;  // groups, of this row and of the next
      part.for_slices([&](std::int64_t s) {
        __pipeline_wait_prior(static_cast<std::size_t>(--waiting));
        const std::int64_t own = s - part.first;
        const SliceSums slice = slice_sums(held + own * kSlice, part.count(s), call.scale, true);
        if (lane_of_thread() == 0) sums[own] = slice;
      });
      Blocks::meet();  // every block's sums and logits are there
      if (warp_of_thread() == 0) {
        const auto slice = [&](std::int64_t i) {
          const unsigned block = block_of(i);
          return Blocks::in_block(sums, block)[i - block * part.most];
        };
        float logit = __builtin_nanf("");  // of no such token
        if (id >= 0 && id < call.vocab) {
          const unsigned block = block_of(id / kSlice);
          logit = to_float(Blocks::in_block(held, block)[id - block * part.most * kSlice]);
        }
        const RowGradient result = call.score(row, token, slice, logit, rank == 0);
        if (lane_of_thread() == 0) found = {result, result.at_token(logit)};
      }
      Blocks::meet();  // nobody overwrites what others read, or leaves
      call.differentiate(row, part, found.of_row, held, part.first, true, id, found.at_token);
    } else {
      call.clear(row, part, rank);
    }
    weight = next;
    next = later;
  }
}

/// Rows that no shared memory holds: read twice, a block to each.
template <class Element, class Gradient>
__global__ void __launch_bounds__(kMostWarps* kWarp)
    two_reads_kernel(Call<Element, Gradient> call) {
  R1_DYNAMIC_SHARED(memory);
  __shared__ Found found;
  const Part part(call.vocab, 1, 0);
  const std::int64_t row = blockIdx.x;
  const TokenInputs token = token_inputs(call.tokens, row);
  if (token.weight == 0) return call.clear(row, part, 0);
  const std::int64_t id = call.ids[row];
  auto* const sums = reinterpret_cast<SliceSums*>(memory);
  const Element* const logits = call.logits + row * call.vocab;
  const bool aligned = is_aligned(call.logits, call.vocab);
  const float logit = logit_of(logits, id, call.vocab);  // before it is overwritten
  part.for_slices([&](std::int64_t s) {
    const SliceSums slice = slice_sums(logits + s * kSlice, part.count(s), call.scale, aligned);
    if (lane_of_thread() == 0) sums[s] = slice;
  });
  __syncthreads();  // the sums are there
  if (warp_of_thread() == 0) {
    const auto slice = [&](std::int64_t i) { return sums[i]; };
    const RowGradient result = call.score(row, token, slice, logit, true);
    if (lane_of_thread() == 0) found = {result, result.at_token(logit)};
  }
  __syncthreads();  // the gradient is there
  call.differentiate(row, part, found.of_row, logits, 0, aligned, id, found.at_token);
}

/// How a row is held.
struct Plan {
  int cluster;  // blocks of a row; 0: it is read twice
  int threads;
  std::size_t shared;
};

Plan plan_row(std::int64_t vocab, std::size_t element, int most_bytes, int most_cluster) {
  const std::int64_t slices = ceil_div(vocab, kSlice);
  const std::int64_t bytes = static_cast<std::int64_t>(element) * kSlice;
  int cluster = 1;
  while (cluster < most_cluster && ceil_div(slices, cluster) * bytes > kRowBytes) cluster *= 2;
  const std::int64_t part = ceil_div(slices, cluster);
  const std::int64_t held = sums_bytes(part) + kBuffers * part * bytes;
  if (held > most_bytes - 1024) return {0, 0, 0};  // but for what the kernel itself shares
  // No more warps than the slowest one needs: 19 slices take two rounds by 10 warps as by 16.
  const std::int64_t warps = ceil_div(part, ceil_div(part, kMostWarps));
  return {cluster, static_cast<int>(warps) * kWarp, static_cast<std::size_t>(held)};
}

template <class Element, class Gradient>
int run_two_reads(const Call<Element, Gradient>& call, CudaStream stream) {
  const std::int64_t slices = ceil_div(call.vocab, kSlice);
  const std::int64_t warps = slices < kMostWarps ? slices : kMostWarps;
  return launch(
      {call.rows, static_cast<int>(warps) * kWarp, static_cast<std::size_t>(sums_bytes(slices))},
      stream, &two_reads_kernel<Element, Gradient>, call);
}

template <class Element, class Gradient>
int run(const Call<Element, Gradient>& call, CudaStream stream) {
  if (call.rows == 0) return cudaSuccess;
  const auto clustered = &resident_kernel<Element, Gradient, true>;
  int most_bytes = 0;
  bool clusters = false;
  int error = most_shared(most_bytes);
  if (!error) error = knows_clusters(clustered, clusters);
  if (error) return error;
  const Plan plan = plan_row(call.vocab, sizeof(Element), most_bytes, clusters ? kMostCluster : 1);
  if (plan.cluster == 0) return run_two_reads(call, stream);
  const auto launch_resident = [&](auto kernel) -> int {
    // As many clusters as the GPU holds at a time, each for many rows.
    LaunchShape shape{plan.cluster, plan.threads, plan.shared, plan.cluster};
    int held = 0;
    // Of so large a cluster none, or not even an answer: a part of a GPU, say, or a smaller one.
    if (most_clusters(shape, kernel, held) || held == 0) return run_two_reads(call, stream);
    shape.blocks *= held < call.rows ? held : call.rows;
    return launch(shape, stream, kernel, call, plan.cluster);
  };
  return plan.cluster == 1 ? launch_resident(&resident_kernel<Element, Gradient, false>)
                           : launch_resident(clustered);
}

}  // namespace

int grpo_loss_from_logits_cuda(const float* logits, const std::int64_t* ids, std::int64_t rows,
                               std::int64_t vocab, float temperature, const GrpoTokens& tokens,
                               const GrpoLossOptions& options, float entropy_weight,
                               float* gradient, float* logprobs, double* workspace,
                               CudaStream stream) {
  return run(Call<float, float>{logits, ids, rows, vocab, 1.f / temperature, tokens, options,
                                entropy_weight, gradient, logprobs, workspace},
             stream);
}

int grpo_loss_from_logits_bf16_cuda(const bf16* logits, const std::int64_t* ids, std::int64_t rows,
                                    std::int64_t vocab, float temperature, const GrpoTokens& tokens,
                                    const GrpoLossOptions& options, float entropy_weight,
                                    bf16* gradient, float* logprobs, double* workspace,
                                    CudaStream stream) {
  return run(Call<bf16, bf16>{logits, ids, rows, vocab, 1.f / temperature, tokens, options,
                              entropy_weight, gradient, logprobs, workspace},
             stream);
}

int grpo_loss_from_logits_narrow_cuda(const float* logits, const std::int64_t* ids,
                                      std::int64_t rows, std::int64_t vocab, float temperature,
                                      const GrpoTokens& tokens, const GrpoLossOptions& options,
                                      float entropy_weight, bf16* gradient, float* logprobs,
                                      double* workspace, CudaStream stream) {
  return run(Call<float, bf16>{logits, ids, rows, vocab, 1.f / temperature, tokens, options,
                               entropy_weight, gradient, logprobs, workspace},
             stream);
}

}  // namespace r1::kernels

#include <cstdlib>
#include <cstring>

#include "kernels/grpo_loss_pipelined.cuh"
#include "kernels/grpo_loss_resident.cuh"

/// The loss and its gradient from logits: a row is read once where shared memory holds it, else
/// twice. Of the first there are two kernels. `PipelinedLoss` should be the faster one, but no GPU
/// has run it yet; R1CORE_LOSS_KERNEL=pipelined asks for it. One of the two goes once both are
/// timed (tests/bench/cuda_loss.py).
namespace r1::kernels {
namespace {

constexpr int kTwoReadsWarps = 10, kMostCluster = 16;

/// Rows in shared memory, each read once.
template <class Loss, class Call>
__global__ void __launch_bounds__((Loss::kMostWorkers + Loss::kOtherWarps) * kWarp,
                                  Loss::kBlocksPerProcessor)
    held_rows_kernel(Call call, int cluster) {
  R1_DYNAMIC_SHARED(memory);
  Loss::run(call, cluster, memory);
}

/// Rows that no shared memory holds: read twice, a block to each.
template <class Element, class Gradient>
__global__ void __launch_bounds__(kTwoReadsWarps* kWarp)
    two_reads_kernel(Call<Element, Gradient> call) {
  R1_DYNAMIC_SHARED(memory);
  __shared__ Found found;
  const Part part(call.vocab, warps_of_block(), 1, 0);
  const std::int64_t row = blockIdx.x;
  const TokenInputs token = token_inputs(call.tokens, row);
  if (token.weight == 0) {
    if (warp_of_thread() == 0) call.note_nothing(row);
    return call.clear(row, part);
  }
  const std::int64_t id = call.ids[row];
  auto* const sums = reinterpret_cast<SliceSums*>(memory);
  const Element* const logits = call.logits + row * call.vocab;
  const bool aligned = is_aligned(call.logits, call.vocab);
  const float logit = logit_of(logits, id, call.vocab);  // before it is overwritten
  part.for_slices([&](int s) {
    const Element* const from = logits + std::int64_t{s} * kSlice;
    const SliceSums slice = slice_sums(from, part.count(s), call.scale, aligned);
    if (lane_of_thread() == 0) sums[s] = slice;
  });
  __syncthreads();  // the sums are there
  if (warp_of_thread() == 0) {
    const auto slice = [&](std::int64_t i) { return sums[i]; };
    const Found result = call.score(row, token, id, slice, logit, true);
    if (lane_of_thread() == 0) found = result;
  }
  __syncthreads();  // the gradient is there
  call.differentiate(row, part, found, [&](int s, float (&x)[kSliceVectors][kVector]) {
    load_slice(logits + std::int64_t{s} * kSlice, part.count(s), aligned, x);
  });
}

/// How a row is held.
struct Plan {
  int cluster;  // blocks of a row; 0: it is read twice
  int threads;
  std::size_t shared;
};

template <class Loss>
Plan plan_row(std::int64_t vocab, std::size_t element, int most_bytes, int most_cluster) {
  const std::int64_t slices = ceil_div(vocab, kSlice);
  const std::int64_t bytes = static_cast<std::int64_t>(element) * kSlice;
  int cluster = 1;
  while (cluster < most_cluster && ceil_div(slices, cluster) * bytes > Loss::kRowBytes)
    cluster *= 2;
  const std::int64_t part = ceil_div(slices, cluster);
  const std::int64_t held = Loss::sums_bytes(slices, part) + Loss::kHeldRows * part * bytes;
  if (held > most_bytes - 1024) return {0, 0, 0};  // but for what the kernel itself shares
  // No more workers than the slowest one needs: 20 slices take two rounds by 10 warps as by 19.
  const std::int64_t workers = ceil_div(part, ceil_div(part, Loss::kMostWorkers));
  return {cluster, static_cast<int>(workers + Loss::kOtherWarps) * kWarp,
          static_cast<std::size_t>(held)};
}

template <class Element, class Gradient>
int run_two_reads(const Call<Element, Gradient>& call, CudaStream stream) {
  const std::int64_t slices = ceil_div(call.vocab, kSlice);
  const std::int64_t warps = slices < kTwoReadsWarps ? slices : kTwoReadsWarps;
  return launch({call.rows, static_cast<int>(warps) * kWarp,
                 static_cast<std::size_t>(slices) * sizeof(SliceSums)},
                stream, &two_reads_kernel<Element, Gradient>, call);
}

/// @param Loss      ResidentLoss or PipelinedLoss
/// @param otherwise  what takes rows that it cannot hold
template <template <class, class, bool> class Loss, class Element, class Gradient, class Otherwise>
int run_held(const Call<Element, Gradient>& call, CudaStream stream, const Otherwise& otherwise) {
  using One = Loss<Element, Gradient, false>;
  using Many = Loss<Element, Gradient, true>;
  const auto clustered = &held_rows_kernel<Many, Call<Element, Gradient>>;
  int most_bytes = 0;
  bool clusters = false;
  int error = most_shared(most_bytes);
  if (!error) error = knows_clusters(clustered, clusters);
  if (error) return error;
  const Plan plan =
      plan_row<One>(call.vocab, sizeof(Element), most_bytes, clusters ? kMostCluster : 1);
  if (plan.cluster == 0) return otherwise();
  const auto launch_held = [&](auto kernel) -> int {
    // As many clusters as the GPU holds at a time, each for many rows.
    LaunchShape shape{plan.cluster, plan.threads, plan.shared, plan.cluster};
    int held = 0;
    // Of so large a cluster none, or not even an answer: a part of a GPU, say, or a smaller one.
    if (most_clusters(shape, kernel, held) || held == 0) return otherwise();
    shape.blocks *= held < call.rows ? held : call.rows;
    return launch(shape, stream, kernel, call, plan.cluster);
  };
  return plan.cluster == 1 ? launch_held(&held_rows_kernel<One, Call<Element, Gradient>>)
                           : launch_held(clustered);
}

template <class Element, class Gradient>
int run(const Call<Element, Gradient>& call, CudaStream stream) {
  if (call.rows == 0) return cudaSuccess;
  const auto resident = [&] {
    return run_held<ResidentLoss>(call, stream, [&] { return run_two_reads(call, stream); });
  };
  const char* const asked = std::getenv("R1CORE_LOSS_KERNEL");
  if (asked && std::strcmp(asked, "pipelined") == 0)
    return run_held<PipelinedLoss>(call, stream, resident);
  return resident();
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

#include "kernels/advantage.h"

#include "kernels/common/block.cuh"

namespace r1::kernels {
namespace {

constexpr int kWarps = 4, kBatchThreads = 256;

/// Count, mean and standard deviation of finite rewards, relative to `origin`.
struct Moments {
  double count, origin, mean, std;
};

/// Of `size` rewards, by some threads that `sum` adds up.
///
/// @param first, step  which rewards are this thread's
/// @param least        of a number over all threads; `sum` likewise
template <class Sum, class Least>
__device__ Moments moments(const float* rewards, std::int64_t size, int ddof, std::int64_t first,
                           int step, const Sum& sum, const Least& least) {
  // The origin is the first finite reward, as on the CPU.
  std::int64_t origin_at = size;
  for (std::int64_t i = first; i < size && origin_at == size; i += step)
    if (isfinite(rewards[i])) origin_at = i;
  origin_at = least(origin_at);
  if (origin_at == size) return {};
  Moments result{0, static_cast<double>(rewards[origin_at]), 0, 0};
  double total = 0, count = 0;
  for (std::int64_t i = first; i < size; i += step) {
    if (!isfinite(rewards[i])) continue;
    count += 1;
    total += static_cast<double>(rewards[i]) - result.origin;
  }
  result.count = sum(count);
  result.mean = sum(total) / result.count;
  double squares = 0;
  for (std::int64_t i = first; i < size; i += step) {
    if (!isfinite(rewards[i])) continue;
    const double deviation = static_cast<double>(rewards[i]) - result.origin - result.mean;
    squares += deviation * deviation;
  }
  const double freedom = result.count - ddof;
  squares = sum(squares);
  result.std = freedom > 0 ? sqrt(squares / freedom) : 0;
  return result;
}

/// One block goes through the whole batch.
__global__ void batch_std_kernel(const float* rewards, std::int64_t size, int ddof, double* std) {
  __shared__ Block<kBatchThreads>::Storage storage;
  const Block<kBatchThreads> block(storage);
  const Moments batch = moments(
      rewards, size, ddof, threadIdx.x, kBatchThreads,
      [&](double value) { return block.sum(value); },
      [&](std::int64_t value) {
        return static_cast<std::int64_t>(block.least(static_cast<double>(value)));
      });
  if (threadIdx.x == 0) *std = batch.std;
}

__global__ void __launch_bounds__(kWarps* kWarp)
    group_advantage_kernel(const float* rewards, float* advantages, std::int64_t P, std::int64_t G,
                           AdvantageScale scale, AdvantageBaseline baseline, double eps, int ddof,
                           const double* batch_std) {
  const std::int64_t p = static_cast<std::int64_t>(blockIdx.x) * kWarps + warp_of_thread();
  if (p >= P) return;  // whole warps leave together, so the shuffles stay converged
  const float* const reward = rewards + p * G;
  const Moments group = moments(
      reward, G, ddof, lane_of_thread(), kWarp, [](double value) { return warp_sum(value); },
      [](std::int64_t value) {
        return warp_reduce(value, [](std::int64_t a, std::int64_t b) { return a < b ? a : b; });
      });
  double factor = 1;  // leave-one-out: r - (sum - r) / (n - 1) = (r - mean) n / (n - 1)
  if (baseline == AdvantageBaseline::leave_one_out && group.count > 1)
    factor = group.count / (group.count - 1);
  if (scale == AdvantageScale::group) factor /= group.std + eps;
  if (scale == AdvantageScale::batch) factor /= *batch_std + eps;
  for (std::int64_t g = lane_of_thread(); g < G; g += kWarp) {
    const float own = reward[g];
    const bool counts = group.count > 1 && isfinite(own);
    const double centred = static_cast<double>(own) - group.origin - group.mean;
    advantages[p * G + g] = counts ? static_cast<float>(centred * factor) : 0.f;
  }
}

}  // namespace

int group_advantage_cuda(const float* rewards, float* advantages, std::int64_t num_prompts,
                         std::int64_t group_size, AdvantageScale scale, AdvantageBaseline baseline,
                         double eps, int ddof, double* batch_std, CudaStream stream) {
  if (num_prompts == 0) return cudaSuccess;
  if (scale == AdvantageScale::batch) {
    const int error = launch({1, kBatchThreads}, stream, &batch_std_kernel, rewards,
                             num_prompts * group_size, ddof, batch_std);
    if (error) return error;
  }
  return launch({ceil_div(num_prompts, kWarps), kWarps * kWarp}, stream, &group_advantage_kernel,
                rewards, advantages, num_prompts, group_size, scale, baseline, eps, ddof,
                batch_std);
}

}  // namespace r1::kernels

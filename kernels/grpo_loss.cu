#include "kernels/grpo_loss.h"

#include "kernels/common/block.cuh"
#include "kernels/grpo_terms.h"

namespace r1::kernels {
namespace {

using namespace R1_ISA;  // the formulas

constexpr int kThreads = 256;
using Sums = Block<kThreads>;

/// A block goes through a sequence. With a ratio per sequence every token's log-probability moves
/// the one ratio by 1 / tokens.
__global__ void __launch_bounds__(kThreads)
    grpo_loss_kernel(const double* logprobs, GrpoTokens tokens, const std::int64_t* starts,
                     GrpoLossOptions options, const float* entropies, double* grad_logprobs,
                     double* workspace) {
  __shared__ Sums::Storage storage;
  const Sums block(storage);
  const std::int64_t begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
  const auto for_tokens = [&](const auto& body) {
    for (std::int64_t m = begin + threadIdx.x; m < end; m += kThreads)
      if (tokens.weights[m] != 0) body(m);
  };

  double mean = 0, counted = 0;
  if (options.sequence_ratio) {
    double total = 0;
    for_tokens([&](std::int64_t m) {
      counted += 1;
      total += log_ratio_of(logprobs[m], token_inputs(tokens, m));
    });
    counted = block.sum(counted);
    total = block.sum(total);
    mean = counted > 0 ? total / counted : 0;
  }

  GrpoLossSums sums{};
  double entropy = 0, by_log_ratio = 0;
  for (std::int64_t m = begin + threadIdx.x; m < end; m += kThreads) grad_logprobs[m] = 0;
  for_tokens([&](std::int64_t m) {
    const TokenInputs token = token_inputs(tokens, m);
    const double log_ratio = options.sequence_ratio ? mean : log_ratio_of(logprobs[m], token);
    const Term term = add_token(logprobs[m], log_ratio, token, options, sums);
    grad_logprobs[m] = term.by_logprob + (options.sequence_ratio ? 0 : term.by_log_ratio);
    by_log_ratio += term.by_log_ratio;
    if (entropies) entropy += static_cast<double>(entropies[m]);
  });
  if (options.sequence_ratio) {
    by_log_ratio = block.sum(by_log_ratio);
    for_tokens([&](std::int64_t m) { grad_logprobs[m] += by_log_ratio / counted; });
  }
  const double parts[kLossSums] = {sums.loss,        sums.kl,           sums.tokens,
                                   sums.low_clipped, sums.high_clipped, entropy};
  for (int i = 0; i < kLossSums; ++i) {
    const double total = block.sum(parts[i]);
    if (threadIdx.x == 0) workspace[blockIdx.x * kLossSums + i] = total;
  }
}

/// One block: each thread its workspaces in order, then the threads.
__global__ void __launch_bounds__(kThreads)
    sums_kernel(const double* workspace, std::int64_t count, double* sums) {
  __shared__ Sums::Storage storage;
  const Sums block(storage);
  double parts[kLossSums] = {};
  for (std::int64_t n = threadIdx.x; n < count; n += kThreads)
    for (int i = 0; i < kLossSums; ++i) parts[i] += workspace[n * kLossSums + i];
  for (int i = 0; i < kLossSums; ++i) {
    const double total = block.sum(parts[i]);
    if (threadIdx.x == 0) sums[i] = total;
  }
}

}  // namespace

int grpo_loss_sums_cuda(const double* workspace, std::int64_t count, double* sums,
                        CudaStream stream) {
  return launch({1, kThreads}, stream, &sums_kernel, workspace, count, sums);
}

int grpo_loss_cuda(const double* logprobs, const GrpoTokens& tokens,
                   const std::int64_t* sequence_starts, std::int64_t sequences,
                   const GrpoLossOptions& options, const float* entropies, double* grad_logprobs,
                   double* workspace, double* sums, CudaStream stream) {
  const int error = launch({sequences, kThreads}, stream, &grpo_loss_kernel, logprobs, tokens,
                           sequence_starts, options, entropies, grad_logprobs, workspace);
  if (error) return error;
  return grpo_loss_sums_cuda(workspace, sequences, sums, stream);
}

}  // namespace r1::kernels

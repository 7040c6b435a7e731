#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>

#include "csrc/cuda_library.h"
#include "csrc/logprob.h"
#include "kernels/logprob.h"

namespace r1 {

using kernels::bf16;
using kernels::SoftmaxStatistics;

void token_logprobs_cuda(const at::Tensor& logits, const at::Tensor& tokens, double temperature,
                         const TokenScores& scores, std::int64_t stream) {
  const c10::DeviceGuard guard(logits.device());
  const std::int64_t M = logits.size(0), V = logits.size(1);
  const at::Tensor workspace =
      at::empty({kernels::softmax_workspace_cuda(M, V)}, logits.options().dtype(at::kByte));
  const auto* const ids = tokens.const_data_ptr<std::int64_t>();
  auto* const logprobs = scores.logprobs.mutable_data_ptr<float>();
  auto* const entropies = scores.entropies.mutable_data_ptr<float>();
  auto* const statistics = static_cast<SoftmaxStatistics*>(scores.statistics.mutable_data_ptr());
  const auto t = static_cast<float>(temperature);
  if (logits.scalar_type() == at::kBFloat16)
    R1_CUDA(token_logprobs_bf16_cuda, static_cast<const bf16*>(logits.const_data_ptr()), ids, M, V,
            t, logprobs, entropies, statistics, workspace.mutable_data_ptr(), stream_of(stream));
  else
    R1_CUDA(token_logprobs_cuda, logits.const_data_ptr<float>(), ids, M, V, t, logprobs, entropies,
            statistics, workspace.mutable_data_ptr(), stream_of(stream));
}

void token_logprobs_backward_cuda(const at::Tensor& logits, const at::Tensor& tokens,
                                  const at::Tensor& statistics, const at::Tensor& grad_logprobs,
                                  const at::Tensor& grad_entropies, double temperature,
                                  const at::Tensor& grad_logits, std::int64_t stream) {
  const c10::DeviceGuard guard(logits.device());
  const std::int64_t M = logits.size(0), V = logits.size(1);
  const auto* const ids = tokens.const_data_ptr<std::int64_t>();
  const auto* const of_rows = static_cast<const SoftmaxStatistics*>(statistics.const_data_ptr());
  const float* const dlogprobs = grad_logprobs.const_data_ptr<float>();
  const float* const dentropies = grad_entropies.const_data_ptr<float>();
  const auto t = static_cast<float>(temperature);
  if (logits.scalar_type() == at::kBFloat16)
    R1_CUDA(token_logprobs_backward_bf16_cuda, static_cast<const bf16*>(logits.const_data_ptr()),
            ids, of_rows, dlogprobs, dentropies, M, V, t,
            static_cast<bf16*>(grad_logits.mutable_data_ptr()), stream_of(stream));
  else
    R1_CUDA(token_logprobs_backward_cuda, logits.const_data_ptr<float>(), ids, of_rows, dlogprobs,
            dentropies, M, V, t, grad_logits.mutable_data_ptr<float>(), stream_of(stream));
}

}  // namespace r1

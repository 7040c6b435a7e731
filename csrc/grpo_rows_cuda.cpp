#include "csrc/grpo_rows_cuda.h"

#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>

#include "csrc/cuda_library.h"

namespace r1 {

using kernels::bf16;
using kernels::kLossSums;

CudaGrpoRows::CudaGrpoRows(const at::Tensor& ids, const GrpoTokens& tokens,
                           const kernels::GrpoLossOptions& options, double temperature,
                           double entropy_weight, std::int64_t stream, bool keeps_logprobs)
    : ids_(ids.contiguous()),
      tokens_(tokens),
      options_(options),
      temperature_(temperature),
      entropy_weight_(entropy_weight),
      stream_(stream) {
  const auto wide = ids.options().dtype(at::kFloat);
  if (options.sequence_ratio) {
    scores_ = empty_scores(at::empty({tokens.size(), 0}, wide));
    return;
  }
  workspace_ = at::empty({tokens.size(), kLossSums}, ids.options().dtype(at::kDouble));
  if (keeps_logprobs) scores_.logprobs = at::empty({tokens.size()}, wide);
}

void CudaGrpoRows::score(const at::Tensor& logits, std::int64_t first) {
  const auto part = [&](const at::Tensor& all) { return all.narrow(0, first, logits.size(0)); };
  token_logprobs_cuda(logits, part(ids_), temperature_,
                      {part(scores_.logprobs), part(scores_.entropies), part(scores_.statistics)},
                      stream_);
}

void CudaGrpoRows::overwrite(const at::Tensor& logits, const at::Tensor& gradient,
                             std::int64_t first) {
  const c10::DeviceGuard guard(logits.device());
  float* const logprobs =
      scores_.logprobs.defined() ? scores_.logprobs.mutable_data_ptr<float>() + first : nullptr;
  const auto run = [&](auto launcher, const char* name, const auto* from, auto* to) {
    check_cuda(name, launcher(from, ids_.const_data_ptr<std::int64_t>() + first, logits.size(0),
                              logits.size(1), static_cast<float>(temperature_), tokens_.from(first),
                              options_, static_cast<float>(entropy_weight_), to, logprobs,
                              workspace_.mutable_data_ptr<double>() + first * kLossSums,
                              stream_of(stream_)));
  };
  const bool narrow = logits.scalar_type() == at::kBFloat16;
  const bool narrow_gradient = gradient.defined() && gradient.scalar_type() == at::kBFloat16;
  const void* const from = logits.const_data_ptr();
  void* const to = gradient.defined() ? gradient.mutable_data_ptr() : nullptr;
  if (narrow)
    run(R1_CUDA_LAUNCHER(grpo_loss_from_logits_bf16_cuda), "grpo_loss_from_logits_bf16_cuda",
        static_cast<const bf16*>(from), static_cast<bf16*>(to));
  else if (narrow_gradient)
    run(R1_CUDA_LAUNCHER(grpo_loss_from_logits_narrow_cuda), "grpo_loss_from_logits_narrow_cuda",
        static_cast<const float*>(from), static_cast<bf16*>(to));
  else
    run(R1_CUDA_LAUNCHER(grpo_loss_from_logits_cuda), "grpo_loss_from_logits_cuda",
        static_cast<const float*>(from), static_cast<float*>(to));
}

void CudaGrpoRows::differentiate(const at::Tensor& logits, std::int64_t first) {
  const auto part = [&](const at::Tensor& all) { return all.narrow(0, first, logits.size(0)); };
  token_logprobs_backward_cuda(logits, part(ids_), part(scores_.statistics), part(grad_logprobs_),
                               part(grad_entropies_), temperature_, logits, stream_);
}

at::Tensor CudaGrpoRows::sums() {
  if (options_.sequence_ratio) {
    const auto [sums, gradient] = grpo_loss_cuda(scores_.logprobs.to(at::kDouble), tokens_,
                                                 options_, scores_.entropies, stream_);
    grad_logprobs_ = gradient.to(at::kFloat);
    grad_entropies_ = tokens_.weights().flatten().ne(0).to(at::kFloat).mul(-entropy_weight_);
    return sums;
  }
  const c10::DeviceGuard guard(ids_.device());
  const at::Tensor sums = at::empty({kLossSums}, workspace_.options());
  R1_CUDA(grpo_loss_sums_cuda, workspace_.const_data_ptr<double>(), tokens_.size(),
          sums.mutable_data_ptr<double>(), stream_of(stream_));
  return sums;
}

std::tuple<at::Tensor, at::Tensor> grpo_loss_cuda(const at::Tensor& logprobs,
                                                  const GrpoTokens& tokens,
                                                  const kernels::GrpoLossOptions& options,
                                                  const at::Tensor& entropies,
                                                  std::int64_t stream) {
  const c10::DeviceGuard guard(logprobs.device());
  const std::int64_t sequences = tokens.starts().numel() - 1;
  const at::Tensor starts = tokens.starts().to(logprobs.device());
  const at::Tensor gradient = at::empty(logprobs.sizes(), logprobs.options());
  const at::Tensor workspace = at::empty({sequences, kLossSums}, logprobs.options());
  const at::Tensor sums = at::empty({kLossSums}, logprobs.options());
  R1_CUDA(grpo_loss_cuda, logprobs.const_data_ptr<double>(), tokens.from(0),
          starts.const_data_ptr<std::int64_t>(), sequences, options,
          entropies.defined() ? entropies.const_data_ptr<float>() : nullptr,
          gradient.mutable_data_ptr<double>(), workspace.mutable_data_ptr<double>(),
          sums.mutable_data_ptr<double>(), stream_of(stream));
  return {sums, gradient};
}

}  // namespace r1

#include "csrc/grpo_loss.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "csrc/tensor_check.h"

namespace r1 {
namespace {

/// M doubles are few beside the M * V logits they come from. Nobody waits for their way to a GPU.
at::Tensor as_double(const at::Tensor& tensor, at::Device device) {
  return tensor.to(device, at::kDouble, /*non_blocking=*/device.is_cuda()).contiguous();
}

at::Tensor optional_double(const std::optional<at::Tensor>& tensor, at::Device device) {
  return tensor ? as_double(*tensor, device) : at::Tensor{};
}

/// Where the kernels find the tokens.
at::Device reachable_device(const at::Tensor& weights) {
  check_reachable("GrpoTokens", "weights", weights);
  return weights.device();
}

const double* data_or_null(const at::Tensor& tensor, std::int64_t m) {
  return tensor.defined() ? tensor.const_data_ptr<double>() + m : nullptr;
}

}  // namespace

GrpoTokens::GrpoTokens(const at::Tensor& sequence_starts, const at::Tensor& advantages,
                       const at::Tensor& weights, const std::optional<at::Tensor>& old_logprobs,
                       const std::optional<at::Tensor>& reference_logprobs,
                       const std::optional<at::Tensor>& importance_weights)
    : starts_(sequence_starts.to(at::kCPU).contiguous()),
      advantages_(as_double(advantages, reachable_device(weights))),
      weights_(as_double(weights, weights.device())),
      old_logprobs_(optional_double(old_logprobs, weights.device())),
      reference_logprobs_(optional_double(reference_logprobs, weights.device())),
      importance_weights_(optional_double(importance_weights, weights.device())),
      weight_(weights_.const_data_ptr<double>()) {
  const std::int64_t M = size();
  for (const at::Tensor* tensor :
       {&advantages_, &old_logprobs_, &reference_logprobs_, &importance_weights_})
    R1_REQUIRE(!tensor->defined() || tensor->numel() == M,
               "tensors must hold one value for each of ", M, " tokens; got ", tensor->sizes());
  R1_REQUIRE(starts_.dim() == 1 && starts_.numel() >= 1 && starts_.scalar_type() == at::kLong,
             "sequence_starts must be [N + 1] int64; got ", starts_.sizes(), " ",
             dtype_name(starts_));
  const std::int64_t* start = starts_.const_data_ptr<std::int64_t>();
  const std::int64_t N = starts_.numel() - 1;
  R1_REQUIRE(start[0] == 0 && start[N] == M, "sequence_starts must go from 0 to M = ", M, "; got ",
             start[0], " to ", start[N]);
  for (std::int64_t n = 0; n < N; ++n)
    R1_REQUIRE(start[n] <= start[n + 1], "sequence_starts must not decrease; got ", start[n],
               " before ", start[n + 1]);
}

kernels::GrpoTokens GrpoTokens::from(std::int64_t m) const {
  return {data_or_null(advantages_, m), weight_ + m, data_or_null(old_logprobs_, m),
          data_or_null(reference_logprobs_, m), data_or_null(importance_weights_, m)};
}

kernels::GrpoLossSums GrpoTokens::loss(const double* logprobs,
                                       const kernels::GrpoLossOptions& options,
                                       double* grad_logprobs) const {
  return R1_CPU(grpo_loss_cpu)(logprobs, from(0), starts_.const_data_ptr<std::int64_t>(),
                               starts_.numel() - 1, options, grad_logprobs);
}

double GrpoTokens::token_gradient(double logprob, std::int64_t m,
                                  const kernels::GrpoLossOptions& options) const {
  constexpr std::int64_t starts[] = {0, 1};
  double gradient;
  R1_CPU(grpo_loss_cpu)(&logprob, from(m), starts, 1, options, &gradient);
  return gradient;
}

at::Tensor sums_tensor(const kernels::GrpoLossSums& sums, double entropy) {
  at::Tensor tensor = at::empty({6}, at::kDouble);
  double* total = tensor.mutable_data_ptr<double>();
  total[0] = sums.loss;
  total[1] = sums.kl;
  total[2] = sums.tokens;
  total[3] = sums.low_clipped;
  total[4] = sums.high_clipped;
  total[5] = entropy;
  return tensor;
}

std::tuple<at::Tensor, at::Tensor> grpo_loss(const at::Tensor& logprobs, const GrpoTokens& tokens,
                                             const kernels::GrpoLossOptions& options,
                                             std::int64_t stream) {
  R1_REQUIRE(logprobs.numel() == tokens.size(), "logprobs must hold ", tokens.size(),
             " tokens; got ", logprobs.sizes());
  R1_REQUIRE(logprobs.device() == tokens.weights().device(), "logprobs must be on ",
             tokens.weights().device(), " as the tokens are; got ", logprobs.device());
  const at::Tensor current = as_double(logprobs, logprobs.device());
  if (current.is_cuda()) {
    const auto [sums, gradient] = grpo_loss_cuda(current.flatten(), tokens, options, {}, stream);
    return {sums, gradient.view(current.sizes())};
  }
  at::Tensor gradient = at::empty_like(current);
  const kernels::GrpoLossSums sums =
      tokens.loss(current.const_data_ptr<double>(), options, gradient.mutable_data_ptr<double>());
  return {sums_tensor(sums, 0), gradient};
}

}  // namespace r1

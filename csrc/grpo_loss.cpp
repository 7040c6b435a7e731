#include "csrc/grpo_loss.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "csrc/check.h"

namespace r1 {
namespace {

void check_shape(const char* name, const at::Tensor& tensor, at::IntArrayRef expected) {
  if (tensor.sizes() != expected)
    reject("grpo_loss", name, " must be [N, T] = ", expected, "; got ", tensor.sizes());
}

/// N * T doubles are few beside the N * T * V logits they come from.
at::Tensor as_double(const at::Tensor& tensor) { return tensor.to(at::kDouble).contiguous(); }

at::Tensor optional_double(const char* name, const std::optional<at::Tensor>& tensor,
                           at::IntArrayRef shape) {
  if (!tensor) return {};
  check_shape(name, *tensor, shape);
  return as_double(*tensor);
}

const double* data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<double>() : nullptr;
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> grpo_loss(
    const at::Tensor& logprobs, const at::Tensor& advantages, const at::Tensor& mask,
    const at::Tensor& row_weights, const std::optional<at::Tensor>& old_logprobs,
    const std::optional<at::Tensor>& reference_logprobs,
    const std::optional<at::Tensor>& importance_weights, double ratio_min, double ratio_max,
    double delta, double beta, std::int64_t kl_estimator, bool sequence_ratio) {
  R1_REQUIRE(logprobs.dim() == 2, "logprobs must be [N, T]; got ", logprobs.sizes());
  const std::int64_t N = logprobs.size(0), T = logprobs.size(1);
  R1_REQUIRE(mask.scalar_type() == at::kBool, "mask must be bool; got ", mask.scalar_type());
  check_shape("mask", mask, logprobs.sizes());
  const bool per_token = advantages.dim() == 2;
  R1_REQUIRE(per_token ? advantages.sizes() == logprobs.sizes()
                       : advantages.dim() == 1 && advantages.size(0) == N,
             "advantages must be [N] or [N, T] with N, T = ", N, ", ", T, "; got ",
             advantages.sizes());
  R1_REQUIRE(beta == 0 || reference_logprobs, "reference_logprobs must be given where beta > 0");
  const auto shape = logprobs.sizes();
  const at::Tensor current = as_double(logprobs), advantage = as_double(advantages);
  const at::Tensor old = optional_double("old_logprobs", old_logprobs, shape);
  const at::Tensor reference = optional_double("reference_logprobs", reference_logprobs, shape);
  const at::Tensor importance = optional_double("importance_weights", importance_weights, shape);
  const at::Tensor counted = mask.contiguous(), weights = as_double(row_weights);
  const kernels::GrpoLossOptions options{
      ratio_min,     ratio_max, delta, beta, static_cast<kernels::KlEstimator>(kl_estimator),
      sequence_ratio};
  at::Tensor gradient = at::empty_like(current);
  const kernels::GrpoLossSums sums = R1_CPU(grpo_loss_cpu)(
      current.const_data_ptr<double>(), data_or_null(old), data_or_null(reference),
      data_or_null(importance), advantage.const_data_ptr<double>(), per_token,
      counted.const_data_ptr<bool>(), weights.const_data_ptr<double>(), N, T, options,
      gradient.mutable_data_ptr<double>());
  at::Tensor loss = at::empty({}, logprobs.options());
  loss.fill_(sums.loss);
  at::Tensor totals = at::empty({4}, current.options());
  double* total = totals.mutable_data_ptr<double>();
  total[0] = sums.kl;
  total[1] = sums.tokens;
  total[2] = sums.low_clipped;
  total[3] = sums.high_clipped;
  return {loss, gradient.to(logprobs.scalar_type()), totals};
}

}  // namespace r1

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>

#include "csrc/grpo_loss_from_hidden.h"
#include "csrc/grpo_rows_cuda.h"

namespace r1 {
namespace {

/// The products of a chunk. With both factors in bfloat16 they run on the matrix units, whose sums
/// are float32 and stay so: logits and the weight's gradient are never rounded in between. The
/// gradient of the logits is rounded once, to be a factor itself.
class Products {
 public:
  Products(const at::Tensor& hidden, const at::Tensor& weight)
      : narrow_(hidden.scalar_type() == at::kBFloat16 && weight.scalar_type() == at::kBFloat16),
        weight_(narrow_ ? weight : weight.to(at::kFloat)) {}

  bool narrow() const { return narrow_; }
  at::Tensor factor(const at::Tensor& hidden) const {
    return narrow_ ? hidden : hidden.to(at::kFloat);
  }

  void logits(const at::Tensor& hidden, at::Tensor out) const {
    if (narrow_)
      at::mm_out(out, hidden, weight_.t(), at::kFloat);
    else
      at::mm_out(out, hidden, weight_.t());
  }
  void grad_hidden(const at::Tensor& grad, at::Tensor out) const { at::mm_out(out, grad, weight_); }
  void grad_weight(const at::Tensor& grad, const at::Tensor& hidden, at::Tensor out,
                   bool fresh) const {
    const at::Tensor rows = grad.t();
    if (narrow_ && fresh)
      at::mm_out(out, rows, hidden, at::kFloat);
    else if (narrow_)
      at::addmm_out(out, out, rows, hidden, at::kFloat);
    else if (fresh)
      at::mm_out(out, rows, hidden);
    else
      at::addmm_out(out, out, rows, hidden);
  }

 private:
  bool narrow_;
  at::Tensor weight_;
};

}  // namespace

HiddenLoss grpo_loss_from_hidden_cuda(const at::Tensor& hidden, const at::Tensor& weight,
                                      const std::optional<at::Tensor>& bias, const at::Tensor& ids,
                                      const GrpoTokens& tokens,
                                      const kernels::GrpoLossOptions& options, double temperature,
                                      double entropy_weight, std::int64_t budget_bytes,
                                      const HeadGradients& wanted, std::int64_t stream) {
  const c10::DeviceGuard guard(hidden.device());
  const std::int64_t M = hidden.size(0), V = weight.size(0), H = hidden.size(1);
  const Products products(hidden, weight);
  const auto wide = hidden.options().dtype(at::kFloat);
  const auto factor = hidden.options().dtype(products.narrow() ? at::kBFloat16 : at::kFloat);
  const std::int64_t most = std::clamp<std::int64_t>(
      budget_bytes / (V * (products.narrow() ? 6 : 4)), 1, std::max<std::int64_t>(1, M));
  HiddenLoss result;
  if (wanted.hidden) result.hidden = at::empty({M, H}, factor);
  if (wanted.weight) result.weight = M > 0 ? at::empty({V, H}, wide) : at::zeros({V, H}, wide);
  if (wanted.bias) result.bias = at::zeros({V}, wide);
  CudaGrpoRows loss(ids, tokens, options, temperature, entropy_weight, stream, true);
  const at::Tensor buffer = at::empty({std::min(most, M), V}, wide);
  const bool gradients = wanted.hidden || wanted.weight || wanted.bias;
  const bool at_once = gradients && !options.sequence_ratio;
  const at::Tensor narrow_buffer =
      products.narrow() && gradients ? at::empty({std::min(most, M), V}, factor) : at::Tensor{};

  const auto for_chunks = [&](const auto& body) {
    for (std::int64_t first = 0; first < M; first += most) {
      const std::int64_t rows = std::min(most, M - first);
      body(first, products.factor(hidden.narrow(0, first, rows)), buffer.narrow(0, 0, rows));
    }
  };
  const auto compute_logits = [&](const at::Tensor& part, const at::Tensor& logits) {
    products.logits(part, logits);
    if (bias) at::Tensor(logits).add_(*bias);
  };
  const auto propagate = [&](std::int64_t first, const at::Tensor& part, const at::Tensor& grad) {
    if (wanted.hidden) products.grad_hidden(grad, result.hidden.narrow(0, first, grad.size(0)));
    if (wanted.weight) products.grad_weight(grad, part, result.weight, first == 0);
    if (wanted.bias) result.bias.add_(grad.sum(0, false, at::kFloat));
  };
  for_chunks([&](std::int64_t first, const at::Tensor& part, const at::Tensor& logits) {
    compute_logits(part, logits);
    if (options.sequence_ratio) return loss.score(logits, first);
    const at::Tensor grad = narrow_buffer.defined() ? narrow_buffer.narrow(0, 0, logits.size(0))
                                                    : logits;  // not needed, it is room
    loss.overwrite(logits, grad, first);
    if (at_once) propagate(first, part, grad);
  });
  result.sums = loss.sums();
  result.logprobs = loss.logprobs();
  if (gradients && !at_once)
    for_chunks([&](std::int64_t first, const at::Tensor& part, const at::Tensor& logits) {
      if (most < M) compute_logits(part, logits);  // a single chunk is still there
      loss.differentiate(logits, first);
      if (!narrow_buffer.defined()) return propagate(first, part, logits);
      propagate(first, part, narrow_buffer.narrow(0, 0, logits.size(0)).copy_(logits));
    });
  if (wanted.hidden) result.hidden = result.hidden.to(hidden.scalar_type());
  if (wanted.weight) result.weight = result.weight.to(weight.scalar_type());
  if (wanted.bias) result.bias = result.bias.to(bias->scalar_type());
  return result;
}

}  // namespace r1

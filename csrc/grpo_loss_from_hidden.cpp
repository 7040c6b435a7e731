#include "csrc/grpo_loss_from_hidden.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "csrc/check.h"
#include "csrc/grpo_rows.h"
#include "csrc/tensor_check.h"

namespace r1 {
namespace {

constexpr std::int64_t kPanelItems = std::int64_t{1} << 22;  // 16 MiB of widened weight

/// out += a b, or out = a b where `fresh`.
void multiply(at::Tensor out, const at::Tensor& a, const at::Tensor& b, bool fresh) {
  if (fresh)
    at::mm_out(out, a, b);
  else
    at::addmm_out(out, out, a, b);
}

/// The head's matrix products, in float32 whatever the factors' dtypes.
class Head {
 public:
  Head(const at::Tensor& weight, const std::optional<at::Tensor>& bias) : weight_(weight) {
    if (bias) bias_ = bias->to(at::kFloat);
    const std::int64_t V = weight.size(0), H = std::max<std::int64_t>(1, weight.size(1));
    if (weight.scalar_type() == at::kFloat) {
      panel_rows_ = V;
    } else {
      panel_rows_ = std::clamp<std::int64_t>(kPanelItems / H, 1, V);
      widened_ = at::empty({panel_rows_, weight.size(1)}, weight.options().dtype(at::kFloat));
    }
  }

  void logits(const at::Tensor& hidden, const at::Tensor& out) {
    for_panels([&](std::int64_t begin, const at::Tensor& panel) {
      at::Tensor columns = out.narrow(1, begin, panel.size(0));
      at::mm_out(columns, hidden, panel.t());
    });
    if (bias_.defined()) at::Tensor(out).add_(bias_);
  }

  void grad_hidden(const at::Tensor& grad_logits, const at::Tensor& out) {
    for_panels([&](std::int64_t begin, const at::Tensor& panel) {
      multiply(out, grad_logits.narrow(1, begin, panel.size(0)), panel, begin == 0);
    });
  }

 private:
  template <class Body>
  void for_panels(const Body& body) {
    for (std::int64_t begin = 0; begin < weight_.size(0); begin += panel_rows_) {
      const std::int64_t rows = std::min(panel_rows_, weight_.size(0) - begin);
      at::Tensor panel = weight_.narrow(0, begin, rows);
      if (widened_.defined()) panel = widened_.narrow(0, 0, rows).copy_(panel);
      body(begin, panel);
    }
  }

  at::Tensor weight_, bias_, widened_;
  std::int64_t panel_rows_;
};

/// Equal chunks of rows whose float32 logits fit the budget.
std::int64_t chunk_rows(std::int64_t M, std::int64_t V, std::int64_t budget_bytes) {
  const std::int64_t row_bytes = V * static_cast<std::int64_t>(sizeof(float));
  const std::int64_t most =
      std::clamp<std::int64_t>(budget_bytes / row_bytes, 1, std::max<std::int64_t>(1, M));
  const std::int64_t chunks = (M + most - 1) / most;
  return chunks == 0 ? 1 : (M + chunks - 1) / chunks;
}

void check(const at::Tensor& hidden, const at::Tensor& weight,
           const std::optional<at::Tensor>& bias, const at::Tensor& ids, const GrpoTokens& tokens,
           double temperature) {
  constexpr const char* function = "grpo_loss_from_hidden";
  const auto readable = [](const at::Tensor& tensor) {
    return tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16;
  };
  if (hidden.dim() != 2 || !readable(hidden))
    reject(function, "hidden must be [M, H] float32 or bfloat16; got ", hidden.sizes(), " ",
           dtype_name(hidden));
  if (weight.dim() != 2 || weight.size(1) != hidden.size(1) || weight.size(0) == 0 ||
      !readable(weight))
    reject(function, "lm_head must be [V >= 1, H = ", hidden.size(1), "] float32 or bfloat16; got ",
           weight.sizes(), " ", dtype_name(weight));
  if (bias && (bias->dim() != 1 || bias->size(0) != weight.size(0) || !readable(*bias)))
    reject(function, "lm_head_bias must be [V = ", weight.size(0), "] float32 or bfloat16; got ",
           bias->sizes(), " ", dtype_name(*bias));
  const auto check_device = [&](const char* name, const at::Tensor& tensor) {
    if (tensor.device() != hidden.device())
      reject(function, name, " must be on ", hidden.device(), " as hidden is; got ",
             tensor.device());
  };
  check_device("lm_head", weight);
  if (bias) check_device("lm_head_bias", *bias);
  check_device("tokens", ids);
  check_device("the loss's weights", tokens.weights());
  if (tokens.size() != hidden.size(0))
    reject(function, "sequence_starts must end at M = ", hidden.size(0), "; got ", tokens.size());
  check_tokens(function, ids, hidden.size(0), weight.size(0), temperature);
}

}  // namespace

HiddenLoss grpo_loss_from_hidden(const at::Tensor& hidden, const at::Tensor& weight,
                                 const std::optional<at::Tensor>& bias, const at::Tensor& ids,
                                 const GrpoTokens& tokens, const kernels::GrpoLossOptions& options,
                                 double temperature, double entropy_weight,
                                 std::int64_t budget_bytes, const HeadGradients& wanted,
                                 std::int64_t stream) {
  check(hidden, weight, bias, ids, tokens, temperature);
  R1_REQUIRE(budget_bytes > 0, "budget_bytes must be > 0; got ", budget_bytes);
  if (hidden.is_cuda())
    return grpo_loss_from_hidden_cuda(hidden, weight, bias, ids, tokens, options, temperature,
                                      entropy_weight, budget_bytes, wanted, stream);
  const std::int64_t M = hidden.size(0), V = weight.size(0), H = hidden.size(1);
  const std::int64_t most = chunk_rows(M, V, budget_bytes);
  const auto wide = hidden.options().dtype(at::kFloat);
  const bool gradients = wanted.hidden || wanted.weight || wanted.bias;
  HiddenLoss result;
  if (wanted.hidden) result.hidden = at::empty({M, H}, wide);
  if (wanted.weight) result.weight = M > 0 ? at::empty({V, H}, wide) : at::zeros({V, H}, wide);
  if (wanted.bias) result.bias = at::zeros({V}, wide);
  Head head(weight, bias);
  GrpoRows loss(ids, tokens, options, temperature, entropy_weight);
  const at::Tensor buffer = at::empty({std::min(most, M), V}, wide);

  const auto for_chunks = [&](const auto& body) {
    for (std::int64_t first = 0; first < M; first += most) {
      const std::int64_t rows = std::min(most, M - first);
      const at::Tensor part = hidden.narrow(0, first, rows).to(at::kFloat);
      body(first, part, buffer.narrow(0, 0, rows));
    }
  };
  const auto propagate = [&](std::int64_t first, const at::Tensor& part, const at::Tensor& grad) {
    if (wanted.hidden) head.grad_hidden(grad, result.hidden.narrow(0, first, grad.size(0)));
    if (wanted.weight) multiply(result.weight, grad.t(), part, first == 0);
    if (wanted.bias) result.bias.add_(grad.sum(0));
  };

  const bool at_once = gradients && !options.sequence_ratio;
  for_chunks([&](std::int64_t first, const at::Tensor& part, const at::Tensor& logits) {
    head.logits(part, logits);
    if (!at_once) return loss.score(logits, first);
    loss.overwrite(logits, first);
    propagate(first, part, logits);
  });
  result.sums = loss.sums();
  result.logprobs = loss.logprobs();
  if (gradients && !at_once)
    for_chunks([&](std::int64_t first, const at::Tensor& part, const at::Tensor& logits) {
      if (most < M) head.logits(part, logits);  // a single chunk is still there
      loss.differentiate(logits, first);
      propagate(first, part, logits);
    });
  if (wanted.hidden) result.hidden = result.hidden.to(hidden.scalar_type());
  if (wanted.weight) result.weight = result.weight.to(weight.scalar_type());
  if (wanted.bias) result.bias = result.bias.to(bias->scalar_type());
  return result;
}

}  // namespace r1

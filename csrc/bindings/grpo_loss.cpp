#include "csrc/grpo_loss.h"

#include "csrc/bindings/bindings.h"
#include "csrc/grpo_loss_from_hidden.h"
#include "csrc/grpo_loss_from_logits.h"

namespace r1::bindings {
namespace {

using kernels::GrpoLossOptions;

GrpoLossOptions make_options(int surrogate, double ratio_min, double ratio_max, double delta,
                             double sapo_temperature_pos, double sapo_temperature_neg, double beta,
                             int kl_estimator, bool bias_corrected_kl, bool sequence_ratio) {
  return {static_cast<kernels::Surrogate>(surrogate),
          ratio_min,
          ratio_max,
          delta,
          sapo_temperature_pos,
          sapo_temperature_neg,
          beta,
          static_cast<kernels::KlEstimator>(kl_estimator),
          bias_corrected_kl,
          sequence_ratio};
}

/// Gradients that are undefined reach Python as None.
std::optional<at::Tensor> optional(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

auto from_hidden(const at::Tensor& hidden, const at::Tensor& lm_head,
                 const std::optional<at::Tensor>& lm_head_bias, const at::Tensor& ids,
                 const GrpoTokens& tokens, const GrpoLossOptions& options, double temperature,
                 double entropy_weight, std::int64_t budget_bytes, bool grad_hidden,
                 bool grad_lm_head, bool grad_lm_head_bias, std::int64_t stream) {
  const HiddenLoss loss = grpo_loss_from_hidden(
      hidden, lm_head, lm_head_bias, ids, tokens, options, temperature, entropy_weight,
      budget_bytes, {grad_hidden, grad_lm_head, grad_lm_head_bias}, stream);
  return std::make_tuple(loss.sums, loss.logprobs, optional(loss.hidden), optional(loss.weight),
                         optional(loss.bias));
}

}  // namespace

void bind_grpo_loss(py::module_& m) {
  const py::call_guard<py::gil_scoped_release> released;
  py::class_<GrpoLossOptions>(m, "GrpoLossOptions")
      .def(py::init(&make_options), "surrogate"_a, "ratio_min"_a, "ratio_max"_a, "delta"_a,
           "sapo_temperature_pos"_a, "sapo_temperature_neg"_a, "beta"_a, "kl_estimator"_a,
           "bias_corrected_kl"_a, "sequence_ratio"_a);
  py::class_<GrpoTokens>(m, "GrpoTokens")
      .def(py::init<const at::Tensor&, const at::Tensor&, const at::Tensor&,
                    const std::optional<at::Tensor>&, const std::optional<at::Tensor>&,
                    const std::optional<at::Tensor>&>(),
           "sequence_starts"_a, "advantages"_a, "weights"_a, "old_logprobs"_a,
           "reference_logprobs"_a, "importance_weights"_a, released);  // it may wait for a GPU
  m.def("grpo_loss", &r1::grpo_loss, "logprobs"_a, "tokens"_a, "options"_a, "stream"_a = 0,
        released, "logprobs -> (sums [6], gradient); see r1core.grpo_loss");
  m.def("grpo_loss_from_logits", &r1::grpo_loss_from_logits, "logits"_a, "ids"_a, "tokens"_a,
        "options"_a, "temperature"_a, "entropy_weight"_a, "in_place"_a, "stream"_a = 0, released,
        "logits [M, V] -> sums [6]; see r1core.grpo_loss_from_logits");
  m.def("grpo_loss_from_hidden", &from_hidden, "hidden"_a, "lm_head"_a, "lm_head_bias"_a, "ids"_a,
        "tokens"_a, "options"_a, "temperature"_a, "entropy_weight"_a, "budget_bytes"_a,
        "grad_hidden"_a, "grad_lm_head"_a, "grad_lm_head_bias"_a, "stream"_a = 0, released,
        "hidden [M, H] -> (sums [6], logprobs [M], gradients); see r1core.grpo_loss_from_hidden");
}

}  // namespace r1::bindings

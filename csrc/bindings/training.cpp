#include "csrc/bindings/bindings.h"
#include "csrc/engine/inputs.h"
#include "csrc/training/forward.h"
#include "csrc/training/head.h"
#include "csrc/training/head_loss.h"

namespace r1::bindings {
namespace {

using namespace r1::training;

py::list optionals(const std::vector<at::Tensor>& tensors) {
  py::list list;
  for (const at::Tensor& tensor : tensors)
    list.append(tensor.defined() ? py::cast(tensor) : py::none());
  return list;
}

}  // namespace

void bind_training(py::module_& m) {
  py::enum_<Keep>(m, "Keep", "What a forward pass keeps for the backward pass")
      .value("nothing", Keep::nothing)
      .value("layers", Keep::layers)
      .value("all", Keep::all);
  py::class_<Forward>(m, "Forward", "The decoder as one differentiable function of packed tokens")
      .def(py::init<const engine::DecoderSpec&, std::vector<at::Tensor>, std::vector<std::int64_t>,
                    Keep, int, std::shared_ptr<engine::Trace>>(),
           "spec"_a, "sequences"_a, "prompt_lengths"_a, "keep"_a, "threads"_a,
           "trace"_a = py::none())
      .def_property_readonly("traced", &Forward::traced,
                             "Whether a trace spares part of run; before it")
      .def_property_readonly("rows", &Forward::rows,
                             "Tokens that run: each prompt once, no padding")
      .def(
          "run",
          [](Forward& forward) {
            const py::gil_scoped_release release;
            return forward.run(check_signals);
          },
          "-> float32 [M, hidden], the final hidden state before each completion token")
      .def(
          "backward",
          [](Forward& forward, const at::Tensor& grad_hidden, const std::vector<bool>& wanted) {
            Gradients gradients;
            {
              const py::gil_scoped_release release;
              gradients = forward.backward(grad_hidden, wanted, check_signals);
            }
            return optionals(gradients);
          },
          "grad_hidden"_a, "wanted"_a, "-> gradients like parameters_of(spec), None if not wanted");
  m.def(
      "check_sequences",
      [](const engine::DecoderSpec& spec, const std::vector<at::Tensor>& sequences,
         const std::vector<std::int64_t>& prompt_lengths, int threads) {
        engine::check_sequences("logprobs", spec, sequences, prompt_lengths, threads);
      },
      "spec"_a, "sequences"_a, "prompt_lengths"_a, "threads"_a, "raises ValueError");
  m.def("parameters_of", &parameters_of, "spec"_a, "-> the tensors of a spec but its head's");
  m.def(
      "head_logprobs",
      [](const engine::Linear& head, const at::Tensor& hidden, const at::Tensor& tokens,
         double temperature, int threads) {
        HeadScores scores;
        {
          const py::gil_scoped_release release;
          scores = head_logprobs(head, hidden, tokens, temperature, threads, check_signals);
        }
        return py::make_tuple(scores.logprobs, scores.entropies, scores.statistics);
      },
      "head"_a, "hidden"_a, "tokens"_a, "temperature"_a, "threads"_a,
      "-> (logprobs, entropies, statistics)");
  m.def(
      "head_logprobs_backward",
      [](const engine::Linear& head, const at::Tensor& hidden, const at::Tensor& tokens,
         const at::Tensor& statistics, const at::Tensor& grad_logprobs,
         const at::Tensor& grad_entropies, double temperature, const std::vector<bool>& wanted,
         int threads) {
        std::vector<at::Tensor> gradients;
        {
          const py::gil_scoped_release release;
          gradients =
              head_logprobs_backward(head, hidden, tokens, statistics, grad_logprobs,
                                     grad_entropies, temperature, wanted, threads, check_signals);
        }
        return optionals(gradients);
      },
      "head"_a, "hidden"_a, "tokens"_a, "statistics"_a, "grad_logprobs"_a, "grad_entropies"_a,
      "temperature"_a, "wanted"_a, "threads"_a, "-> gradients of hidden, weight, bias, a, b");
  m.def(
      "head_loss",
      [](const engine::Linear& head, const at::Tensor& hidden, const at::Tensor& tokens,
         const GrpoTokens& loss, const kernels::GrpoLossOptions& options, double temperature,
         double entropy_weight, const std::vector<bool>& wanted, int threads) {
        HeadLoss result;
        {
          const py::gil_scoped_release release;
          result = head_loss(head, hidden, tokens, loss, options, temperature, entropy_weight,
                             wanted, threads, check_signals);
        }
        return py::make_tuple(result.sums, result.logprobs, optionals(result.gradients));
      },
      "head"_a, "hidden"_a, "tokens"_a, "loss"_a, "options"_a, "temperature"_a, "entropy_weight"_a,
      "wanted"_a, "threads"_a, "-> (sums [6], logprobs, gradients of hidden, weight, bias, a, b)");
}

}  // namespace r1::bindings

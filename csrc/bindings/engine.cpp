#include "csrc/engine/engine.h"

#include "csrc/engine/buffer.h"
#include "csrc/engine/fingerprint.h"

#include "csrc/bindings/bindings.h"

namespace r1::bindings {
namespace {

using namespace r1::engine;

OnProgress with_gil(const py::object& callback) {
  return [&callback](std::int64_t tokens, std::int64_t finished) {
    check_signals();
    const py::gil_scoped_acquire gil;
    if (!callback.is_none()) callback(tokens, finished);
  };
}

void bind_spec(py::module_& m) {
  py::class_<LowRank>(m, "LowRank", "A LoRA adapter's pair: scale * b(a x)")
      .def(py::init<at::Tensor, at::Tensor, double>(), "a"_a, "b"_a, "scale"_a);
  py::class_<Linear>(m, "Linear", "A projection of the engine's table")
      .def(py::init<at::Tensor, std::optional<at::Tensor>, std::optional<LowRank>>(), "weight"_a,
           "bias"_a = py::none(), "low_rank"_a = py::none());
  py::class_<LayerSpec>(m, "LayerSpec", "A decoder layer of the engine's table")
      .def(py::init<>())
      .def_readwrite("input_norm", &LayerSpec::input_norm)
      .def_readwrite("query", &LayerSpec::query)
      .def_readwrite("key", &LayerSpec::key)
      .def_readwrite("value", &LayerSpec::value)
      .def_readwrite("output", &LayerSpec::output)
      .def_readwrite("query_norm", &LayerSpec::query_norm)
      .def_readwrite("key_norm", &LayerSpec::key_norm)
      .def_readwrite("feed_forward_norm", &LayerSpec::feed_forward_norm)
      .def_readwrite("gate", &LayerSpec::gate)
      .def_readwrite("up", &LayerSpec::up)
      .def_readwrite("down", &LayerSpec::down)
      .def_readwrite("window", &LayerSpec::window);
  py::enum_<Activation>(m, "Activation", "What a gate goes through")
      .value("silu", Activation::silu)
      .value("gelu_tanh", Activation::gelu_tanh);
  py::class_<DecoderSpec>(m, "DecoderSpec", "A model as the engine's table of live parameters")
      .def(py::init<>())
      .def_readwrite("heads", &DecoderSpec::heads)
      .def_readwrite("kv_heads", &DecoderSpec::kv_heads)
      .def_readwrite("head_dim", &DecoderSpec::head_dim)
      .def_readwrite("max_positions", &DecoderSpec::max_positions)
      .def_readwrite("norm_eps", &DecoderSpec::norm_eps)
      .def_readwrite("inverse_frequencies", &DecoderSpec::inverse_frequencies)
      .def_readwrite("embedding", &DecoderSpec::embedding)
      .def_readwrite("embedding_scale", &DecoderSpec::embedding_scale)
      .def_readwrite("activation", &DecoderSpec::activation)
      .def_readwrite("layers", &DecoderSpec::layers)
      .def_readwrite("final_norm", &DecoderSpec::final_norm)
      .def_readwrite("head", &DecoderSpec::head);
}

/// `ends` may be None where `may_end` is.
StopCheck stop_check_of(const std::optional<at::Tensor>& may_end, const py::object& ends) {
  if (!may_end) return {};
  return {*may_end, [&ends](const at::Tensor& completion) {
            const py::gil_scoped_acquire gil;
            return ends(completion).cast<bool>();
          }};
}

py::tuple generate_from_python(const DecoderSpec& spec, const std::vector<at::Tensor>& prompts,
                               const std::vector<std::int64_t>& uids,
                               const std::vector<std::uint64_t>& seeds,
                               const GenerateOptions& options,
                               const std::optional<at::Tensor>& may_end, const py::object& ends,
                               const py::object& on_step) {
  const StopCheck stop_check = stop_check_of(may_end, ends);
  Completions results;
  {
    const py::gil_scoped_release release;
    results = generate(spec, {prompts, uids, seeds}, options, stop_check, with_gil(on_step));
  }
  return py::make_tuple(results.tokens, results.logprobs, results.truncated_logprobs,
                        results.entropies, results.lengths, results.stopped, results.trace);
}

}  // namespace

void bind_engine(py::module_& m) {
  bind_spec(m);
  py::class_<GenerateOptions>(m, "GenerateOptions", "How the engine draws completions")
      .def(py::init<>())
      .def_readwrite("n", &GenerateOptions::n)
      .def_readwrite("temperature", &GenerateOptions::temperature)
      .def_readwrite("top_k", &GenerateOptions::top_k)
      .def_readwrite("top_p", &GenerateOptions::top_p)
      .def_readwrite("min_p", &GenerateOptions::min_p)
      .def_readwrite("max_new_tokens", &GenerateOptions::max_new_tokens)
      .def_readwrite("stop_token_ids", &GenerateOptions::stop_token_ids)
      .def_readwrite("slots", &GenerateOptions::slots)
      .def_readwrite("threads", &GenerateOptions::threads)
      .def_readwrite("trace_bytes", &GenerateOptions::trace_bytes);
  py::class_<Trace, std::shared_ptr<Trace>>(
      m, "Trace", "What the engine made of the tokens it ran, for the update that follows")
      .def_property_readonly("fingerprint", &Trace::fingerprint, "Of the weights that made it")
      .def(
          "__deepcopy__", [](std::shared_ptr<Trace> trace, const py::object&) { return trace; },
          "memo"_a, "-> itself: it never changes");
  m.def("fingerprint", &fingerprint, "spec"_a,
        "-> a number that its weights give; equal ones compute the same");
  m.def("release_buffers", &release_buffers,
        "-> bytes; frees the memory that the engine keeps for its next call, at most 1 GB");
  m.def("engine_generate", &generate_from_python, "spec"_a, "prompts"_a, "uids"_a, "seeds"_a,
        "options"_a, "may_end"_a = py::none(), "ends"_a = py::none(), "on_step"_a = py::none(),
        "-> (tokens, logprobs, truncated_logprobs, entropies [N, T], lengths [N], stopped [N], "
        "trace or None)");
}

}  // namespace r1::bindings

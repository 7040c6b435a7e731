#include "csrc/sampling.h"

#include "csrc/bindings/bindings.h"

void r1::bindings::bind_sampling(py::module_& m) {
  m.def(
      "sample_tokens", &r1::sample_tokens, "logits"_a, "uniforms"_a, "temperature"_a, "top_k"_a,
      "top_p"_a, "min_p"_a, "stream"_a = 0, py::call_guard<py::gil_scoped_release>(),
      "logits [N, V], uniforms [N] -> (tokens, logprobs, truncated_logprobs, entropies), each [N]");
  m.def("philox_uniforms", &r1::philox_uniforms, "seed"_a, "prompt_uids"_a, "samples"_a,
        "positions"_a, "stream"_a = 0, "counters [N] -> float64 [N] in (0, 1)");
}

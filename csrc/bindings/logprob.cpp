#include "csrc/logprob.h"

#include "csrc/bindings/bindings.h"

void r1::bindings::bind_logprob(py::module_& m) {
  m.def("token_logprobs", &r1::token_logprobs, "logits"_a, "tokens"_a, "temperature"_a,
        "stream"_a = 0, py::call_guard<py::gil_scoped_release>(),
        "logits [M, V], tokens [M] -> (logprobs [M], entropies [M], statistics [M, 3]); see "
        "r1core.token_logprobs");
  m.def("token_logprobs_backward", &r1::token_logprobs_backward, "logits"_a, "tokens"_a,
        "statistics"_a, "grad_logprobs"_a, "grad_entropies"_a, "temperature"_a, "stream"_a = 0,
        py::call_guard<py::gil_scoped_release>(), "gradient with respect to the logits [M, V]");
}

#include "csrc/grpo_loss.h"

#include "csrc/bindings/bindings.h"

void r1::bindings::bind_grpo_loss(py::module_& m) {
  m.def("grpo_loss", &r1::grpo_loss, "logprobs"_a, "advantages"_a, "mask"_a, "row_weights"_a,
        "old_logprobs"_a, "reference_logprobs"_a, "importance_weights"_a, "ratio_min"_a,
        "ratio_max"_a, "delta"_a, "beta"_a, "kl_estimator"_a, "sequence_ratio"_a,
        py::call_guard<py::gil_scoped_release>(),
        "logprobs [N, T] -> (loss [], gradient [N, T], sums [4]); see r1core.grpo_loss");
}

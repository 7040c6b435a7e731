#pragma once
/// Everything a binding file includes; precompiled, because the torch casters take a minute to
/// parse.
#include <torch/csrc/utils/pybind.h>

namespace r1::bindings {

namespace py = pybind11;
using namespace pybind11::literals;  // NOLINT: "name"_a is how a binding reads

/// Ctrl-C: runs on the thread that called from Python, which holds no GIL meanwhile.
inline void check_signals() {
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

// In the order of the data, one per stem.
void bind_sampling(py::module_& m);
void bind_rewards(py::module_& m);
void bind_choice(py::module_& m);
void bind_text_rewards(py::module_& m);
void bind_advantage(py::module_& m);
void bind_logprob(py::module_& m);
void bind_grpo_loss(py::module_& m);
void bind_layers(py::module_& m);
void bind_engine(py::module_& m);
void bind_training(py::module_& m);
void bind_build_info(py::module_& m);

}  // namespace r1::bindings

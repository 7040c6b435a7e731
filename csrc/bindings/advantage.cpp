#include "csrc/advantage.h"

#include "csrc/bindings/bindings.h"

void r1::bindings::bind_advantage(py::module_& m) {
  m.def("group_advantage", &r1::group_advantage, "rewards"_a, "scale"_a, "baseline"_a, "eps"_a,
        "ddof"_a, "stream"_a = 0, py::call_guard<py::gil_scoped_release>(),
        "rewards [P, G] float32 -> advantages [P, G]; see r1core.group_advantage");
}

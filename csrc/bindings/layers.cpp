#include "csrc/layers.h"

#include "csrc/bindings/bindings.h"

void r1::bindings::bind_layers(py::module_& m) {
  using released = py::call_guard<py::gil_scoped_release>;
  m.def("rms_norm", &r1::rms_norm, "x"_a, "weight"_a, "eps"_a, "residual"_a, "stream"_a = 0,
        released(), "x [..., width], weight [width] -> (y, x + residual); see r1core.layers");
  m.def("rms_norm_backward", &r1::rms_norm_backward, "h"_a, "dy"_a, "weight"_a, "eps"_a, "dh"_a,
        "wants_weight"_a, "stream"_a = 0, released(), "gradients (dx, dweight)");
  m.def("apply_rope", &r1::apply_rope, "x"_a, "cos"_a, "sin"_a, "back"_a, "stream"_a = 0,
        released(), "x [tokens, heads, head_dim] turned by its positions, or back");
  m.def("gated", &r1::gated, "gate"_a, "up"_a, "op"_a, "stream"_a = 0, released(),
        "f(gate) * up for op swiglu or geglu");
  m.def("gated_backward", &r1::gated_backward, "gate"_a, "up"_a, "dy"_a, "op"_a, "stream"_a = 0,
        released(), "gradients (dgate, dup)");
}

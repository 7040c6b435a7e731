#include "csrc/bindings/bindings.h"

void r1::bindings::bind_grpo_loss(py::module_&) {}

#include "csrc/bindings/bindings.h"

void r1::bindings::bind_rewards(py::module_&) {}

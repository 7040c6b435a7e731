#include "csrc/bindings/bindings.h"

void r1::bindings::bind_sampling(py::module_&) {}

#include "csrc/bindings/bindings.h"

void r1::bindings::bind_logprob(py::module_&) {}

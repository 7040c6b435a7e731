#include "csrc/bindings/bindings.h"

void r1::bindings::bind_engine(py::module_&) {}

#include <torch/version.h>

#include <cstdlib>

#include "csrc/bindings/bindings.h"
#include "csrc/check.h"
#include "csrc/cuda_library.h"
#include "kernels/common/isa.h"

namespace r1::bindings {
namespace {

using kernels::Isa;

void force(const char* who, const char* what, const std::string& name) {
  for (const Isa level : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (name != kernels::isa_name(level)) continue;
    if (!kernels::force_isa(level))
      reject(who, what, " must be a level this CPU runs, at most ",
             kernels::isa_name(kernels::best_isa()), "; got ", name);
    return;
  }
  reject(who, what, " must be portable, avx2 or avx512; got ", name);
}

}  // namespace

void bind_build_info(py::module_& m) {
  // For comparisons, and for a machine whose best level misbehaves; see `r1core doctor`.
  if (const char* const name = std::getenv("R1CORE_ISA")) force("r1core", "R1CORE_ISA", name);
  m.attr("torch_version") = TORCH_VERSION;  // the torch this module was compiled against
  m.attr("compiler") = "g++ " __VERSION__;
  m.def(
      "cuda_status",
      [] {
        const CudaStatus status = cuda_status();
        const kernels::CudaReport& found = status.report;
        return std::make_tuple(status.path, status.error, found.error, found.devices,
                               found.driver_version, found.runtime_version);
      },
      "libr1cuda.so: path, why it is not open, and what it finds: cudaError_t, devices, the newest "
      "CUDA of the driver, the CUDA it was built with");
  m.def(
      "isa", [] { return kernels::isa_name(kernels::active_isa()); },
      "The instruction-set level in use: portable, avx2 or avx512");
  m.def(
      "best_isa", [] { return kernels::isa_name(kernels::best_isa()); },
      "The best instruction-set level this CPU runs");
  m.def(
      "set_isa", [](const std::string& name) { force("set_isa", "name", name); }, "name"_a,
      "Force a level for the whole process, as the environment variable R1CORE_ISA does");
}

}  // namespace r1::bindings

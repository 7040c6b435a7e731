#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "kernels/common/cuda.h"

/// libr1cuda.so beside this module, opened when a tensor on a GPU first needs it. Nothing here, and
/// nothing that calls it, includes a header of CUDA's: one build of the module serves any torch.
namespace r1 {

/// A function of the library by its name.
///
/// @throws std::runtime_error  the library is not there, or lacks it
void* cuda_function(const char* name);

/// What `doctor` says of the library: where it is and what it finds, or why it can't be opened.
struct CudaStatus {
  std::string path;   // empty: there is none
  std::string error;  // empty: it is open
  kernels::CudaReport report;
};
CudaStatus cuda_status();

/// @throws std::runtime_error  unless `error` is 0, with the kernel's name and what helps
void check_cuda(const char* name, int error);

/// The stream that Python passes as a whole number, torch's current one.
inline kernels::CudaStream stream_of(std::int64_t stream) {
  return reinterpret_cast<kernels::CudaStream>(stream);
}

}  // namespace r1

/// A launcher of the library, looked up once.
#define R1_CUDA_LAUNCHER(function)                                                            \
  ([] {                                                                                       \
    static const auto launcher =                                                              \
        reinterpret_cast<decltype(&::r1::kernels::function)>(::r1::cuda_function(#function)); \
    return launcher;                                                                          \
  }())
/// Calls it: `R1_CUDA(group_advantage_cuda, rewards, ..., stream);`
#define R1_CUDA(function, ...) ::r1::check_cuda(#function, R1_CUDA_LAUNCHER(function)(__VA_ARGS__))

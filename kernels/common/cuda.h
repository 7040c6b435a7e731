#pragma once
/// The GPU's side of a stem. `<op>_cuda` in kernels/<op>.cu is the twin of `<op>_cpu`: the same
/// arguments, but device pointers, and a stream at the end. All of them make up libr1cuda.so, which
/// csrc/cuda_library.h opens when it is first needed; nothing else links to CUDA.
///
/// A launcher is asynchronous on its stream, allocates nothing, keeps no state, and returns a
/// cudaError_t as an int: 0 is success. It never prints and never exits.
#if defined(__GNUC__)
#define R1_CUDA_API extern "C" __attribute__((visibility("default")))
#else
#define R1_CUDA_API extern "C"
#endif

namespace r1::kernels {

/// A cudaStream_t, for those who have no header of CUDA's; null is the default stream.
using CudaStream = void*;

/// What the library finds on this machine.
struct CudaReport {
  int error;            // cudaError_t of asking for the devices
  int devices;          // that it can use
  int driver_version;   // the newest CUDA that the driver runs, as 1000 major + 10 minor; 0: none
  int runtime_version;  // the CUDA that it was built with
};
R1_CUDA_API void r1_cuda_report(CudaReport* report);
R1_CUDA_API const char* r1_cuda_error(int code);

}  // namespace r1::kernels

/// A function that both sides call, compiled once for each; a formula that kernels of both inline.
#if defined(__CUDACC__)
#define R1_HOST_DEVICE __host__ __device__
#define R1_FORMULA static inline __device__
#else
#define R1_HOST_DEVICE
#define R1_FORMULA static
#endif

#include "kernels/common/cuda.cuh"

namespace r1::kernels {

void r1_cuda_report(CudaReport* report) {
  *report = {};
  cudaDriverGetVersion(&report->driver_version);
  cudaRuntimeGetVersion(&report->runtime_version);
  report->error = cudaGetDeviceCount(&report->devices);
}

const char* r1_cuda_error(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

}  // namespace r1::kernels

#include "csrc/cuda_library.h"

#include <dlfcn.h>

#include <filesystem>
#include <sstream>
#include <stdexcept>

namespace r1 {
namespace {

/// The library, for the life of the process.
struct Library {
  std::string path, error;
  void* handle = nullptr;

  Library() {
    Dl_info self;
    if (!dladdr(reinterpret_cast<void*>(&cuda_status), &self)) {
      error = "this module's own path is not known";
      return;
    }
    const auto beside = std::filesystem::path(self.dli_fname).parent_path() / "libr1cuda.so";
    if (!std::filesystem::exists(beside)) {
      error = "r1core was built without CUDA: no " + beside.string() +
              " (install it where nvcc is found, or with -C cmake.define.R1CORE_CUDA=ON)";
      return;
    }
    path = beside.string();
    handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!handle) error = dlerror();
  }
};

const Library& library() {
  static const Library it;
  return it;
}

template <class Function>
Function* function(const char* name) {
  return reinterpret_cast<Function*>(cuda_function(name));
}

std::string version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

/// What to do about an error, or nothing.
std::string advice(int error) {
  const kernels::CudaReport report = cuda_status().report;
  constexpr int kInsufficientDriver = 35, kNoDevice = 100, kNoImage = 209, kPtxVersion = 222;
  if (error == kInsufficientDriver || error == kPtxVersion)
    return "; libr1cuda.so was built with CUDA " + version(report.runtime_version) +
           " and the driver runs up to " + version(report.driver_version) +
           ": update the driver, or build r1core with that toolkit";
  if (error == kNoDevice) return "; the driver sees no GPU";
  if (error == kNoImage) return "; libr1cuda.so has code for GPUs from sm_80 on";
  return "";
}

}  // namespace

void* cuda_function(const char* name) {
  if (!library().handle) throw std::runtime_error(std::string(name) + ": " + library().error);
  void* const address = dlsym(library().handle, name);
  if (!address)
    throw std::runtime_error(std::string(name) + ": " + library().path +
                             " is of another version of r1core: reinstall it");
  return address;
}

CudaStatus cuda_status() {
  CudaStatus status{library().path, library().error, {}};
  if (library().handle)
    function<decltype(kernels::r1_cuda_report)>("r1_cuda_report")(&status.report);
  return status;
}

void check_cuda(const char* name, int error) {
  if (error == 0) return;
  std::ostringstream message;
  message << name << ": CUDA error " << error << ", "
          << function<decltype(kernels::r1_cuda_error)>("r1_cuda_error")(error) << advice(error);
  throw std::runtime_error(message.str());
}

}  // namespace r1

#pragma once
#include <ATen/core/Tensor.h>

#include "csrc/check.h"

namespace r1 {

/// torch's name of a dtype, where c10 says Float, Double, Half or Long.
inline const char* dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kLong:
      return "int64";
    case at::kInt:
      return "int32";
    case at::kBool:
      return "bool";
    default:
      return c10::toString(dtype);
  }
}
inline const char* dtype_name(const at::Tensor& tensor) { return dtype_name(tensor.scalar_type()); }

/// Rejects a tensor whose memory no kernel of ours reads, such as an mps one, whatever its pointer.
inline void check_reachable(const char* function, const char* name, const at::Tensor& tensor) {
  if (!tensor.is_cpu() && !tensor.is_cuda())
    reject(function, name, " must be on the CPU or a CUDA GPU; got ", tensor.device());
}

}  // namespace r1

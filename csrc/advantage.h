#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace r1 {
/// rewards [P, G] float32 -> advantages [P, G]; see kernels/advantage.h.
at::Tensor group_advantage(const at::Tensor& rewards, const std::string& scale,
                           const std::string& baseline, double eps, std::int64_t ddof);
}  // namespace r1

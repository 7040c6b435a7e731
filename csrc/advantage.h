#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace r1 {
/// rewards [P, G] float32 -> advantages [P, G]; see kernels/advantage.h.
///
/// @param stream  of the rewards' GPU, as a whole number; 0 on the CPU
at::Tensor group_advantage(const at::Tensor& rewards, const std::string& scale,
                           const std::string& baseline, double eps, std::int64_t ddof,
                           std::int64_t stream);
}  // namespace r1

#pragma once
#include <ATen/core/Tensor.h>

namespace r1 {
/// rewards [P, G] float32 -> advantages [P, G]; see kernels/advantage.h.
at::Tensor group_advantage(const at::Tensor& rewards, double eps);
}  // namespace r1

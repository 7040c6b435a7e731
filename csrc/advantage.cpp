#include "csrc/advantage.h"

#include <ATen/ops/empty_like.h>

#include "csrc/check.h"
#include "kernels/advantage.h"

namespace r1 {

at::Tensor group_advantage(const at::Tensor& rewards, double eps) {
  R1_REQUIRE(rewards.dim() == 2 && rewards.size(1) > 1,
             "rewards must be [num_prompts, group_size >= 2]; got ", rewards.sizes());
  R1_REQUIRE(rewards.scalar_type() == at::kFloat, "rewards must be float32; got ",
             rewards.scalar_type());
  R1_REQUIRE(eps > 0, "eps must be > 0; got ", eps);
  const at::Tensor input = rewards.contiguous();
  at::Tensor advantages = at::empty_like(input);
  R1_CPU(group_advantage_cpu)(input.const_data_ptr<float>(), advantages.mutable_data_ptr<float>(),
                              input.size(0), input.size(1), static_cast<float>(eps));
  return advantages;
}

}  // namespace r1

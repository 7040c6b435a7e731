#include "csrc/advantage.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>

#include "csrc/cuda_library.h"
#include "csrc/tensor_check.h"
#include "kernels/advantage.h"

namespace r1 {
namespace {

using kernels::AdvantageBaseline;
using kernels::AdvantageScale;

AdvantageScale scale_of(const std::string& name) {
  if (name == "group") return AdvantageScale::group;
  if (name == "batch") return AdvantageScale::batch;
  if (name == "none") return AdvantageScale::none;
  reject("group_advantage", "scale must be group, batch or none; got ", name);
}

AdvantageBaseline baseline_of(const std::string& name) {
  if (name == "mean") return AdvantageBaseline::mean;
  if (name == "leave_one_out") return AdvantageBaseline::leave_one_out;
  reject("group_advantage", "baseline must be mean or leave_one_out; got ", name);
}

}  // namespace

at::Tensor group_advantage(const at::Tensor& rewards, const std::string& scale,
                           const std::string& baseline, double eps, std::int64_t ddof,
                           std::int64_t stream) {
  check_reachable(__func__, "rewards", rewards);
  R1_REQUIRE(rewards.dim() == 2 && rewards.size(1) > 0,
             "rewards must be [num_prompts, group_size >= 1]; got ", rewards.sizes());
  R1_REQUIRE(rewards.scalar_type() == at::kFloat, "rewards must be float32; got ",
             dtype_name(rewards));
  R1_REQUIRE(eps > 0, "eps must be > 0; got ", eps);
  R1_REQUIRE(ddof == 0 || ddof == 1, "ddof must be 0 or 1; got ", ddof);
  const at::Tensor input = rewards.contiguous();
  at::Tensor advantages = at::empty_like(input);
  if (input.is_cuda()) {
    const c10::DeviceGuard guard(input.device());
    const at::Tensor batch_std = at::empty({1}, input.options().dtype(at::kDouble));
    R1_CUDA(group_advantage_cuda, input.const_data_ptr<float>(),
            advantages.mutable_data_ptr<float>(), input.size(0), input.size(1), scale_of(scale),
            baseline_of(baseline), eps, static_cast<int>(ddof),
            batch_std.mutable_data_ptr<double>(), stream_of(stream));
    return advantages;
  }
  R1_CPU(group_advantage_cpu)
  (input.const_data_ptr<float>(), advantages.mutable_data_ptr<float>(), input.size(0),
   input.size(1), scale_of(scale), baseline_of(baseline), eps, static_cast<int>(ddof));
  return advantages;
}

}  // namespace r1

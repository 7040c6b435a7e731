#include "kernels/advantage.h"

#include <math.h>

namespace r1::kernels::R1_ISA {
namespace {

/// Count, mean and standard deviation of the finite rewards of a range, relative to `origin`.
struct Moments {
  std::int64_t count = 0;
  double origin = 0;
  double mean = 0;  // of reward - origin
  double std = 0;
};

Moments moments(const float* rewards, std::int64_t size, int ddof) {
  Moments result;
  double sum = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    if (!__builtin_isfinite(rewards[i])) continue;
    if (result.count++ == 0) result.origin = rewards[i];
    sum += rewards[i] - result.origin;
  }
  if (result.count == 0) return result;
  result.mean = sum / static_cast<double>(result.count);
  double squares = 0;
  for (std::int64_t i = 0; i < size; ++i) {
    if (!__builtin_isfinite(rewards[i])) continue;
    const double deviation = rewards[i] - result.origin - result.mean;
    squares += deviation * deviation;
  }
  const std::int64_t freedom = result.count - ddof;
  result.std = freedom > 0 ? ::sqrt(squares / static_cast<double>(freedom)) : 0;
  return result;
}

}  // namespace

void group_advantage_cpu(const float* rewards, float* advantages, std::int64_t num_prompts,
                         std::int64_t group_size, AdvantageScale scale, AdvantageBaseline baseline,
                         double eps, int ddof) noexcept {
  double batch_std = 0;
  if (scale == AdvantageScale::batch)
    batch_std = moments(rewards, num_prompts * group_size, ddof).std;
  for (std::int64_t p = 0; p < num_prompts; ++p) {
    const float* reward = rewards + p * group_size;
    float* advantage = advantages + p * group_size;
    const Moments group = moments(reward, group_size, ddof);
    double factor = 1;  // leave-one-out: r - (sum - r) / (n - 1) = (r - mean) n / (n - 1)
    if (baseline == AdvantageBaseline::leave_one_out && group.count > 1)
      factor = static_cast<double>(group.count) / static_cast<double>(group.count - 1);
    if (scale == AdvantageScale::group) factor /= group.std + eps;
    if (scale == AdvantageScale::batch) factor /= batch_std + eps;
    for (std::int64_t g = 0; g < group_size; ++g) {
      const bool counts = group.count > 1 && __builtin_isfinite(reward[g]);
      advantage[g] =
          counts ? static_cast<float>((reward[g] - group.origin - group.mean) * factor) : 0.f;
    }
  }
}

}  // namespace r1::kernels::R1_ISA

#pragma once
#include <cstdint>

#include "kernels/common/isa.h"

namespace r1::kernels {
/// Scores each rollout against its own group: the z-score of its reward among the G answers
/// to one prompt (DeepSeek-R1, equation 3).
///
///     advantage[p,g] = (reward[p,g] - mean(reward[p,:])) / (std(reward[p,:]) + eps)
///
/// Numerics: sums in double, relative to the first reward, so a group that agrees gets exactly 0.
///
/// @param rewards     [num_prompts, group_size], row-major
/// @param advantages  [num_prompts, group_size]; may be `rewards` itself
/// @param eps         added to the std, in reward units
R1_PER_ISA(void group_advantage_cpu(const float* rewards, float* advantages,
                                    std::int64_t num_prompts, std::int64_t group_size,
                                    float eps) noexcept;)
}  // namespace r1::kernels

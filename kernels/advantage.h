#pragma once
#include <cstdint>

#include "kernels/common/cuda.h"
#include "kernels/common/isa.h"

namespace r1::kernels {

/// What equation 3 divides the centred rewards by.
enum class AdvantageScale : int { group, batch, none };
/// What it subtracts: the group's mean, or the mean of the other answers (RLOO).
enum class AdvantageBaseline : int { mean, leave_one_out };

/// Scores each rollout against its own group: the z-score of its reward among the G answers
/// to one prompt (DeepSeek-R1, equation 3).
///
///     advantage[p,g] = (reward[p,g] - mean(reward[p,:])) / (std(reward[p,:]) + eps)
///
/// A reward that is not finite is masked: it leaves every mean and std, and its advantage is 0. So
/// is a whole group with fewer than two finite rewards.
///
/// Numerics: sums in double, relative to the group's first finite reward, so a group that agrees
///           gets exactly 0; deterministic. The batch's std is over every finite reward.
///
/// @param rewards     [num_prompts, group_size], row-major
/// @param advantages  [num_prompts, group_size]; may be `rewards` itself
/// @param eps         added to the std, in reward units; > 0
/// @param ddof        the std divides by count - ddof: 0 or 1
R1_PER_ISA(void group_advantage_cpu(const float* rewards, float* advantages,
                                    std::int64_t num_prompts, std::int64_t group_size,
                                    AdvantageScale scale, AdvantageBaseline baseline, double eps,
                                    int ddof) noexcept;)
/// On the GPU a warp scores a group; the same numerics, sums by lanes.
///
/// @param batch_std  [1], workspace
R1_CUDA_API int group_advantage_cuda(const float* rewards, float* advantages,
                                     std::int64_t num_prompts, std::int64_t group_size,
                                     AdvantageScale scale, AdvantageBaseline baseline, double eps,
                                     int ddof, double* batch_std, CudaStream stream);
}  // namespace r1::kernels

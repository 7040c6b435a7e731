#include "kernels/advantage.h"

#include <math.h>

namespace r1::kernels::R1_ISA {

void group_advantage_cpu(const float* rewards, float* advantages, std::int64_t num_prompts,
                         std::int64_t group_size, float eps) noexcept {
  for (std::int64_t p = 0; p < num_prompts; ++p) {
    const float* reward = rewards + p * group_size;
    const double origin = reward[0];
    double sum = 0;
    for (std::int64_t g = 0; g < group_size; ++g) sum += reward[g] - origin;
    const double mean = sum / static_cast<double>(group_size);
    double squares = 0;
    for (std::int64_t g = 0; g < group_size; ++g) {
      const double deviation = reward[g] - origin - mean;
      squares += deviation * deviation;
    }
    const double scale = 1 / (sqrt(squares / static_cast<double>(group_size - 1)) + eps);
    for (std::int64_t g = 0; g < group_size; ++g)
      advantages[p * group_size + g] = static_cast<float>((reward[g] - origin - mean) * scale);
  }
}

}  // namespace r1::kernels::R1_ISA

#include "kernels/advantage.h"

#include <limits>

#include "tests/cuda/emulated.h"

namespace r1::kernels {
namespace {

std::vector<float> on_gpu(const std::vector<float>& rewards, std::int64_t P, std::int64_t G,
                          AdvantageScale scale, AdvantageBaseline baseline, int ddof) {
  return in_both_orders([&] {
    std::vector<float> advantages(rewards.size());
    double batch_std;
    EXPECT_EQ(group_advantage_cuda(rewards.data(), advantages.data(), P, G, scale, baseline, 1e-4,
                                   ddof, &batch_std, nullptr),
              0);
    return advantages;
  });
}

TEST(CudaAdvantage, AgreesWithTheCpu) {
  for (const auto& [P, G] : {std::pair{0, 8}, {1, 1}, {3, 16}, {5, 33}, {67, 64}, {2, 257}}) {
    std::vector<float> rewards = random_floats(P * G, 3);
    for (std::size_t i = 0; i < rewards.size(); i += 5)
      rewards[i] = std::numeric_limits<float>::quiet_NaN();
    for (const auto scale : {AdvantageScale::group, AdvantageScale::batch, AdvantageScale::none})
      for (const auto baseline : {AdvantageBaseline::mean, AdvantageBaseline::leave_one_out})
        for (const int ddof : {0, 1}) {
          std::vector<float> expected(rewards.size());
          R1_CPU(group_advantage_cpu)
          (rewards.data(), expected.data(), P, G, scale, baseline, 1e-4, ddof);
          expect_near(on_gpu(rewards, P, G, scale, baseline, ddof), expected, 1e-6, 1e-6);
        }
  }
}

TEST(CudaAdvantage, IsExactlyZeroWhereAGroupAgrees) {
  const std::vector<float> rewards(3 * 37, 0.1f);
  for (const float advantage :
       on_gpu(rewards, 3, 37, AdvantageScale::group, AdvantageBaseline::mean, 1))
    EXPECT_EQ(advantage, 0.f);
}

}  // namespace
}  // namespace r1::kernels

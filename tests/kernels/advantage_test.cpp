#include "kernels/advantage.h"

#include <gtest/gtest.h>

namespace r1::kernels {
namespace {

TEST(GroupAdvantage, IsExactlyZeroWhenAGroupAgrees) {
  const float rewards[] = {0.1f, 0.1f, 0.1f, 0.1f};
  float advantages[4];
  R1_CPU(group_advantage_cpu)(rewards, advantages, 1, 4, AdvantageScale::group,
                              AdvantageBaseline::mean, 1e-4, 1);
  for (const float advantage : advantages) EXPECT_EQ(advantage, 0.f);
}

}  // namespace
}  // namespace r1::kernels

#include "kernels/lanes.h"

#include "tests/kernels/panels.h"

namespace r1::kernels {
namespace {

struct Case {
  std::int64_t count, width, pitch;
};

class Lanes : public testing::TestWithParam<Case> {};

TEST_P(Lanes, GoToRowsAndBack) {
  const auto& [count, width, pitch] = GetParam();
  const std::vector<float> panel = random_floats(width * 16, 1);
  std::vector<float> expected_rows(at(16 * pitch), -1.f), expected_panel(at(width * 16));
  for (std::int64_t lane = 0; lane < count; ++lane)
    for (std::int64_t k = 0; k < width; ++k)
      expected_rows[at(lane * pitch + k)] = expected_panel[at(k * 16 + lane)] =
          panel[at(k * 16 + lane)];
  const auto to_rows = [&, count = count, width = width, pitch = pitch] {
    std::vector<float> rows(at(16 * pitch), -1.f);
    R1_CPU(lanes_to_rows_cpu)(panel.data(), count, width, rows.data(), pitch);
    return rows;
  };
  const auto back = [&, count = count, width = width, pitch = pitch] {
    std::vector<float> lanes(at(width * 16), -1.f);
    R1_CPU(rows_to_lanes_cpu)(expected_rows.data(), pitch, count, width, lanes.data());
    return lanes;
  };
  EXPECT_EQ(at_every_level(to_rows), expected_rows);
  EXPECT_EQ(at_portable_level(to_rows), expected_rows);
  EXPECT_EQ(at_every_level(back), expected_panel);
  EXPECT_EQ(at_portable_level(back), expected_panel);
}

TEST(Lanes, AreCopiedAloneWhateverTheirNumber) {
  constexpr std::int64_t kWidth = 5;
  const std::vector<float> from = random_floats(kWidth * 16, 1);
  for (std::int64_t count = 0; count <= 16; ++count)
    for (std::int64_t to = 0; to + count <= 16; to += 3) {
      const std::int64_t first = 16 - count;
      std::vector<float> expected(at(kWidth * 16), -1.f);
      for (std::int64_t k = 0; k < kWidth; ++k)
        for (std::int64_t i = 0; i < count; ++i)
          expected[at(k * 16 + to + i)] = from[at(k * 16 + first + i)];
      const auto run = [&] {
        std::vector<float> lanes(at(kWidth * 16), -1.f);
        R1_CPU(copy_lanes_cpu)(from.data() + first, count, kWidth, lanes.data() + to);
        return lanes;
      };
      EXPECT_EQ(at_every_level(run), expected);
      EXPECT_EQ(at_portable_level(run), expected);
    }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Lanes,
                         testing::Values(Case{16, 32, 32}, Case{16, 37, 41}, Case{3, 32, 32},
                                         Case{16, 7, 9}, Case{0, 16, 16}));

}  // namespace
}  // namespace r1::kernels

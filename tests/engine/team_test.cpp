#include "csrc/engine/team.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

namespace r1::engine {
namespace {

const auto kNoPoll = [] {};

class TeamOf : public testing::TestWithParam<int> {};

/// Every round, crews add into a cell that only a meeting keeps from being read too early.
TEST_P(TeamOf, SeesWhatWasDoneBeforeAMeeting) {
  const int size = GetParam();
  Team team(size);
  std::vector<std::vector<int>> parts(static_cast<std::size_t>(size));  // of each crew
  int round = 0, wrong = 0;
  const auto plan = [&] {
    const int crews = round % size + 1;
    team.split(crews);
    for (auto& part : parts) part.assign(static_cast<std::size_t>(size), -1);
    return ++round <= 300;
  };
  team.run(
      [&](int rank) {
        while (team.lead(rank, plan)) {
          const Crew crew = team.crew(rank);
          auto& part = parts[static_cast<std::size_t>(crew.index)];
          part[static_cast<std::size_t>(crew.rank)] = round;
          crew.meet();
          int seen = 0;
          for (const int value : part) seen += value == round;
          if (seen != crew.size && crew.rank == 0) ++wrong;
          crew.meet();
        }
      },
      kNoPoll);
  EXPECT_EQ(round, 301);
  EXPECT_EQ(wrong, 0);
}

TEST_P(TeamOf, SplitsIntoCrewsOfAboutEqualSize) {
  const int size = GetParam();
  Team team(size);
  for (int crews = 1; crews <= size; ++crews) {
    team.split(crews);
    std::vector<int> members(static_cast<std::size_t>(crews));
    for (int rank = 0; rank < size; ++rank) {
      const Crew crew = team.crew(rank);
      EXPECT_EQ(crew.rank, members[static_cast<std::size_t>(crew.index)]++);
      EXPECT_TRUE(crew.size == size / crews || crew.size == (size + crews - 1) / crews);
    }
    for (int index = 0; index < crews; ++index) {
      const int first = (index * size + crews - 1) / crews;
      EXPECT_EQ(members[static_cast<std::size_t>(index)], team.crew(first).size);
    }
  }
}

TEST_P(TeamOf, ThrowsWhatAPlanThrewOnceAllHaveLeft) {
  Team team(GetParam());
  int rounds = 0;
  const auto plan = [&]() -> bool {
    if (++rounds == 5) throw std::runtime_error("plan");
    return true;
  };
  EXPECT_THROW(team.run(
                   [&](int rank) {
                     while (team.lead(rank, plan)) team.crew(rank).meet();
                   },
                   kNoPoll),
               std::runtime_error);
  EXPECT_EQ(rounds, 5);
}

TEST_P(TeamOf, EndsWhenPollThrows) {
  Team team(GetParam());
  EXPECT_THROW(team.run(
                   [&](int rank) {
                     while (team.lead(rank, [] { return true; })) team.crew(rank).meet();
                   },
                   [] { throw std::domain_error("poll"); }),
               std::domain_error);
}

INSTANTIATE_TEST_SUITE_P(Sizes, TeamOf, testing::Values(1, 2, 3, 5, 8));

TEST(Crew, SharesEveryItemOnceInWholeGrains) {
  for (const std::int64_t count : {0, 1, 7, 8, 97, 512})
    for (int size = 1; size <= 9; ++size) {
      std::int64_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Range part = Crew{nullptr, 0, rank, size}.share(count, 8);
        EXPECT_EQ(part.begin, next);
        EXPECT_TRUE(part.end % 8 == 0 || part.end == count);
        next = part.end;
      }
      EXPECT_EQ(next, count);
    }
}

}  // namespace
}  // namespace r1::engine

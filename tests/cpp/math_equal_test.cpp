#include "csrc/rewards/math_equal.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "csrc/rewards/verify_math.h"

namespace {

using r1::VerdictStatus;

struct Case {
  const char* name;
  std::string_view answer, gold;
  VerdictStatus status;
};

class MathEqual : public testing::TestWithParam<Case> {};

TEST_P(MathEqual, SaysWhatIsWrong) {
  EXPECT_EQ(r1::name(r1::math_equal(GetParam().answer, GetParam().gold)),
            r1::name(GetParam().status));
}
INSTANTIATE_TEST_SUITE_P(
    Statuses, MathEqual,
    testing::Values(Case{"Correct", "0.5", "1/2", VerdictStatus::correct},
                    Case{"Wrong", "0.5", "1/3", VerdictStatus::wrong},
                    Case{"NoAnswer", " ", "1/3", VerdictStatus::no_answer},
                    Case{"UnparsedAnswer", "\\frac{", "4", VerdictStatus::unparsed_answer},
                    Case{"UnparsedGold", "4", "\\frac{", VerdictStatus::unparsed_gold},
                    Case{"GoldIsToBlameFirst", "", "", VerdictStatus::unparsed_gold}),
    [](const auto& test) { return test.param.name; });

TEST(MathEqual, SaysWhereItGaveUp) {
  const std::string digits(5000, '7');
  EXPECT_EQ(r1::math_equal(digits + "/3", "4"), VerdictStatus::over_limit);
}

TEST(VerifyMath, GivesTheSameVerdictsOnAnyNumberOfThreads) {
  std::vector<std::string> texts;
  for (int n = 0; n < 3000; ++n) {
    texts.push_back(std::string(100, ' ') + "<answer>" + std::to_string(n % 7) + "</answer>");
  }
  const std::vector<std::string_view> completions(texts.begin(), texts.end());
  const std::vector<std::string_view> golds(texts.size(), "3");
  for (const int threads : {1, 2, 5}) {
    std::vector<r1::Verdict> verdicts(texts.size());
    r1::verify_math(completions, golds, verdicts, {}, threads);
    for (std::size_t n = 0; n < verdicts.size(); ++n) {
      EXPECT_EQ(verdicts[n].status, n % 7 == 3 ? VerdictStatus::correct : VerdictStatus::wrong);
    }
  }
}

TEST(VerifyMath, ReadsWorkedGolds) {
  EXPECT_EQ(r1::verify_math("\\boxed{1234}", "9 * 2\n#### 1,234").status, VerdictStatus::correct);
}

}  // namespace

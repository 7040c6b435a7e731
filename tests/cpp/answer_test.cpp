#include "csrc/rewards/answer.h"

#include <gtest/gtest.h>

#include <string>

namespace {

constexpr const char* kNone = nullptr;

struct Case {
  const char* name;
  std::string_view text;
  const char* answer;  // null: there is none
};

class FindAnswer : public testing::TestWithParam<Case> {};

TEST_P(FindAnswer, TakesTheFinalOne) {
  const std::string_view answer = r1::find_answer(GetParam().text);
  if (GetParam().answer == nullptr) {
    EXPECT_EQ(answer.data(), nullptr) << answer;
  } else {
    ASSERT_NE(answer.data(), nullptr);
    EXPECT_EQ(answer, GetParam().answer);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Completions, FindAnswer,
    testing::Values(Case{"Tag", "<think>a</think><answer> 4 </answer>", "4"},
                    Case{"LastTag", "<answer>3</answer> no, <answer>4</answer>", "4"},
                    Case{"BoxInTag", "<answer>It is \\boxed{4}.</answer>", "4"},
                    Case{"TagBeforeBox", "<answer>4</answer> \\boxed{5}", "4"},
                    Case{"Box", "<think>a</think> So \\boxed{4}.", "4"},
                    Case{"LastBox", "\\boxed{3}, better \\boxed{4}", "4"},
                    Case{"NestedBraces", "\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{1}{\\sqrt{2}}"},
                    Case{"EscapedBrace", "\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"},
                    Case{"Fbox", "\\fbox{4}", "4"},
                    Case{"UnclosedBoxDoesNotCount", "\\boxed{4} and \\boxed{5", "4"},
                    Case{"UnclosedTagDoesNotCount", "<answer>4</answer><answer>5", "4"},
                    Case{"StrayCloseIsIgnored", "<answer>4</answer></answer>", "4"},
                    Case{"BlankTag", "<answer> </answer>", ""},
                    Case{"BoxInThoughts", "<think>\\boxed{4}</think> I am not sure.", kNone},
                    Case{"TagInThoughts", "<think><answer>4</answer></think>", kNone},
                    Case{"OpenThoughts", "<think>\\boxed{4}", kNone},
                    Case{"Bare", "The answer is 4", kNone},
                    Case{"GoldMarkIsForGolds", "#### 4", kNone},
                    Case{"CloseBeforeOpen", "</answer>4<answer>", kNone}, Case{"Empty", "", kNone}),
    [](const auto& test) { return test.param.name; });

TEST(FindGoldAnswer, ReadsMarksBoxesAndBareText) {
  EXPECT_EQ(r1::find_gold_answer("9 * 2 = 18\n#### 1,234\n"), "1,234");
  EXPECT_EQ(r1::find_gold_answer("#### 1\n#### 2"), "2");
  EXPECT_EQ(r1::find_gold_answer("so \\boxed{\\frac12}"), "\\frac12");
  EXPECT_EQ(r1::find_gold_answer("<answer>4</answer>"), "4");
  EXPECT_EQ(r1::find_gold_answer(" 18 "), "18");
  EXPECT_EQ(r1::find_gold_answer(""), "");
}

TEST(FindAnswer, TakesLinearTimeOnOpenTagsAndBoxes) {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += "\\boxed{<answer>{";
  EXPECT_EQ(r1::find_answer(text).data(), nullptr);  // quadratic time would take minutes
}

}  // namespace

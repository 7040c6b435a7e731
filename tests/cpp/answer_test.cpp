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
                    Case{"Announced", "The answer is 4", "4"}, Case{"GoldMark", "#### 4", "4"},
                    Case{"CloseBeforeOpen", "</answer>4<answer>", kNone}, Case{"Empty", "", kNone}),
    [](const auto& test) { return test.param.name; });

// What models write where no tag or box was asked for.
struct Announced {
  const char* text;
  const char* answer;
};
class FindAnnounced : public testing::TestWithParam<Announced> {};

TEST_P(FindAnnounced, TakesWhatIsAnnounced) {
  const std::string_view answer = r1::find_answer(GetParam().text);
  const std::string shown = answer.data() == nullptr ? "none" : std::string(answer);
  EXPECT_EQ(shown, GetParam().answer == nullptr ? "none" : GetParam().answer) << GetParam().text;
}
INSTANTIATE_TEST_SUITE_P(
    Prose, FindAnnounced,
    testing::Values(
        Announced{"So she makes 18 dollars every day.", "18"},
        Announced{"She sells 9 * 2 = $<<9*2=18>>18\nA: 18", "18"},
        Announced{"For the last glass she pays 5 * 1", kNone}, Announced{"The answer is 42", "42"},
        Announced{"#### 18", "18"}, Announced{"x\n# Answer\n\n42", "42"},
        Announced{"The final answer is: $\\frac{1}{2}$. I hope it is correct.", "$\\frac{1}{2}$"},
        Announced{"**Answer:** 5", "5"}, Announced{"**Final Answer:** $x = 5$", "$x = 5$"},
        Announced{"答案：5", "5"}, Announced{"答案是 $5$。", "$5$"},
        Announced{"La réponse est 5.", "5"}, Announced{"Die Antwort ist 5.", "5"},
        Announced{"La respuesta es 5", "5"}, Announced{"Respuesta: 5", "5"},
        Announced{"Antwort: 5", "5"}, Announced{"to answer this question we need 5 steps", kNone},
        Announced{"Thus, $x = 5$.", "$x = 5$"}, Announced{"\\[ x = 5 \\]", "x = 5"},
        Announced{"So\n$$\nx=5\n$$", "x=5"}, Announced{"x = 5", "x = 5"},
        Announced{"The answer is $1$ and $2$.", "$1$ and $2$"},
        Announced{"\\boxed{1}, \\boxed{2}", "\\boxed{1}, \\boxed{2}"},
        Announced{"\\boxed{840} and \\boxed{840}", "840"}, Announced{"\\boxed 7.", "7"},
        Announced{"\\boxed\\frac12", "\\frac12"},
        Announced{"The answer is \\(\\frac{3}{4}\\)", "\\(\\frac{3}{4}\\)"},
        Announced{"<answer>The final answer is 42.</answer>", "42"},
        Announced{"<answer>Monday</answer>", "Monday"},
        Announced{"<answer>John has 5 apples</answer>", "5"}, Announced{"I don't know.", kNone},
        Announced{"The answer is $18.", "$18"},
        Announced{"The answer is 1,234.5 dollars.", "1,234.5 dollars"},
        Announced{"Answer: (B)", "(B)"}, Announced{"Step 3: done", kNone},
        Announced{"The answer is: -3", "-3"}, Announced{"Therefore the answer is 25%.", "25%"},
        Announced{"The correct answer is 7 because 3+4=7", "7"}, Announced{"Final Answer\n5", "5"},
        Announced{"So the final answer is x=3", "x=3"},
        Announced{"### Final Answer:\n$$12$$", "$$12$$"},
        Announced{"The answer is that she has 5 apples left", "5"},
        Announced{"Answer:\n\n\\[\n\\frac{1}{2}\n\\]", "\\[\n\\frac{1}{2}\n\\]"},
        Announced{"It costs $5 and $7, so the total is $12.", "$12"},
        Announced{"Thus he needs 3/4 cup.", "3/4"}, Announced{"A: 5\nThe total is 10.", "5"},
        Announced{"The area is $5$ and $7$.", "$5$ and $7$"},
        Announced{"So the answer is **12**.", "12"},
        Announced{"The answer to the question is 12.", "12"},
        Announced{"Hence, the answer would be 12", "12"},
        Announced{"The answer is 12 (since 3*4=12).", "12"}, Announced{"**42**", "42"},
        Announced{"Answer: 3.5 km/h", "3.5 km/h"}));

TEST(FindAnswer, LeavesUnmarkedNumbersAloneIfAskedTo) {
  EXPECT_EQ(r1::find_answer("So she makes 18 dollars.", false).data(), nullptr);
  EXPECT_EQ(r1::find_answer("The answer is 18.", false), "18");
}

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
  for (const std::string_view part :
       {"\\boxed{1},", "answer ", "#### ", "$", "\\[", "answer is **", "\\fbox{"}) {
    text.clear();
    for (int i = 0; i < 200'000; ++i) text += part;
    r1::find_answer(text);
    r1::find_gold_answer(text);
  }
}

}  // namespace

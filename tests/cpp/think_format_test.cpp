#include "csrc/rewards/think_format.h"

#include <gtest/gtest.h>

#include <string>

namespace {

using r1::FormatFault;
using r1::ThinkStyle;

struct Completion {
  const char* name;
  std::string_view text;
  FormatFault fault;
};

class ThinkAnswer : public testing::TestWithParam<Completion> {};

TEST_P(ThinkAnswer, NamesTheFirstRuleBroken) {
  EXPECT_EQ(r1::phrase(check_think_format(GetParam().text, ThinkStyle::think_answer)),
            r1::phrase(GetParam().fault));
}
INSTANTIATE_TEST_SUITE_P(
    Template, ThinkAnswer,
    testing::Values(
        Completion{"Plain", "<think>a</think><answer>b</answer>", FormatFault::none},
        Completion{"BlanksOutside", " \n<think>a</think>\n\n<answer>b</answer>\n",
                   FormatFault::none},
        Completion{"AngleBracketsInside", "<think>1 < 2 <b></think><answer>b</answer>",
                   FormatFault::none},
        Completion{"Empty", "", FormatFault::no_think},
        Completion{"NoTags", "The answer is 4.", FormatFault::no_think},
        Completion{"AnswerFirst", "<answer>b</answer><think>a</think>", FormatFault::no_think},
        Completion{"TextBefore", "Sure! <think>a</think><answer>b</answer>",
                   FormatFault::text_before_think},
        Completion{"UnclosedThink", "<think>a<answer>b</answer>", FormatFault::no_think_end},
        Completion{"EmptyThink", "<think> \n</think><answer>b</answer>", FormatFault::empty_think},
        Completion{"TextBetween", "<think>a</think>so<answer>b</answer>",
                   FormatFault::text_between},
        Completion{"NoAnswer", "<think>a</think> b", FormatFault::no_answer_open},
        Completion{"AnswerClosedOnly", "<think>a</think>b</answer>", FormatFault::no_answer_open},
        Completion{"UnclosedAnswer", "<think>a</think><answer>b", FormatFault::no_answer_close},
        Completion{"EmptyAnswer", "<think>a</think><answer></answer>", FormatFault::empty_answer},
        Completion{"TextAfter", "<think>a</think><answer>b</answer> done",
                   FormatFault::text_after_answer},
        Completion{"ThinkTwice", "<think>a<think>b</think><answer>c</answer>",
                   FormatFault::repeated_tag},
        Completion{"BlockTwice", "<think>a</think><answer>b</answer><answer>b</answer>",
                   FormatFault::repeated_tag},
        Completion{"UpperCase", "<THINK>a</THINK><ANSWER>b</ANSWER>", FormatFault::no_think}),
    [](const auto& test) { return test.param.name; });

class ThinkSummary : public testing::TestWithParam<Completion> {};

TEST_P(ThinkSummary, NamesTheFirstRuleBroken) {
  EXPECT_EQ(r1::phrase(check_think_format(GetParam().text, ThinkStyle::think_summary)),
            r1::phrase(GetParam().fault));
}
INSTANTIATE_TEST_SUITE_P(
    Template, ThinkSummary,
    testing::Values(
        Completion{"Plain", "<think>a</think>\nIt is b.", FormatFault::none},
        Completion{"AnswerTagIsText", "<think>a</think><answer>b</answer>", FormatFault::none},
        Completion{"NoSummary", "<think>a</think>\n", FormatFault::empty_summary},
        Completion{"NoThink", "It is b.", FormatFault::no_think},
        Completion{"ThinkTwice", "<think>a</think>b<think>c</think>", FormatFault::repeated_tag}),
    [](const auto& test) { return test.param.name; });

TEST(ThinkFormat, AcceptsAnyBytes) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes += static_cast<char>(byte);
  const std::string text = "<think>" + bytes + "</think><answer>" + bytes + "</answer>";
  EXPECT_EQ(check_think_format(text, ThinkStyle::think_answer), FormatFault::none);
}

TEST(CountSingleTags, CountsTagsThatOccurExactlyOnceInAnyOrder) {
  EXPECT_EQ(r1::count_single_tags(""), 0);
  EXPECT_EQ(r1::count_single_tags("<think>a</think><answer>b</answer>"), 4);
  EXPECT_EQ(r1::count_single_tags("</answer><answer></think><think>"), 4);
  EXPECT_EQ(r1::count_single_tags("<think>a<think>b</think>"), 1);
}

}  // namespace

/// Every labelled pair of tests/data/answer_pairs.tsv, both ways round, and what a policy changes.
#include "csrc/rewards/math_equal.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

using r1::MathPolicy;
using r1::VerdictStatus;

bool same(std::string_view answer, std::string_view gold, const MathPolicy& policy = {}) {
  return r1::math_equal(answer, gold, policy) == VerdictStatus::correct;
}

TEST(AnswerPairs, GetTheirLabelBothWaysRound) {
  std::ifstream file(R1_TEST_DATA "/answer_pairs.tsv");
  int pairs = 0;
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> fields;
    std::istringstream row(line);
    for (std::string field; std::getline(row, field, '\t');) fields.push_back(field);
    if (line.starts_with('#') || fields.size() < 4) continue;
    ++pairs;
    const std::string &answer = fields[1], &gold = fields[2];
    const bool equal = fields[3] == "1";
    EXPECT_EQ(same(answer, gold), equal) << answer << "  against  " << gold;
    EXPECT_EQ(same(gold, answer), equal) << gold << "  against  " << answer;
    EXPECT_TRUE(same(gold, gold)) << gold;
  }
  EXPECT_GT(pairs, 1'000);
}

TEST(MathPolicy, CountsDecimalPlaces) {
  EXPECT_TRUE(same("3.1415927", "\\pi"));
  EXPECT_FALSE(same("3.14", "\\pi"));
  EXPECT_TRUE(same("3.14", "\\pi", {.precision = 2}));
  EXPECT_TRUE(same("0.33", "1/3", {.precision = 2}));
}

TEST(MathPolicy, TakesPercentSigns) {
  using Percent = MathPolicy::Percent;
  EXPECT_TRUE(same("45\\%", "0.45") && same("45\\%", "45"));
  EXPECT_TRUE(same("45\\%", "0.45", {.percent = Percent::hundredth}));
  EXPECT_FALSE(same("45\\%", "45", {.percent = Percent::hundredth}));
  EXPECT_FALSE(same("45\\%", "0.45", {.percent = Percent::ignore}));
  EXPECT_TRUE(same("45\\%", "45", {.percent = Percent::ignore}));
}

TEST(MathPolicy, TakesUnits) {
  using Units = MathPolicy::Units;
  EXPECT_TRUE(same("5", "5\\text{ cm}") && same("100\\text{ cm}", "1\\text{ m}"));
  EXPECT_FALSE(same("5\\text{ m}", "5\\text{ cm}"));
  EXPECT_FALSE(same("5", "5\\text{ cm}", {.units = Units::required}));
  EXPECT_TRUE(same("50\\text{ mm}", "5\\text{ cm}", {.units = Units::required}));
  EXPECT_TRUE(same("5\\text{ m}", "5\\text{ cm}", {.units = Units::ignore}));
}

TEST(MathPolicy, TakesBases) {
  EXPECT_TRUE(same("204_5", "54"));
  EXPECT_FALSE(same("204_5", "204"));
  EXPECT_TRUE(same("204_5", "204", {.base = MathPolicy::Base::digits}));
  EXPECT_FALSE(same("204_5", "204_6", {.base = MathPolicy::Base::digits}));
}

TEST(MathPolicy, TakesOrderIntervalsAndCase) {
  EXPECT_TRUE(same("1, 2", "2, 1"));
  EXPECT_FALSE(same("1, 2", "2, 1", {.ordered_lists = true}));
  EXPECT_TRUE(same("(1,2)", "1<x<2"));
  EXPECT_FALSE(same("(1,2)", "1<x<2", {.open_intervals = false}));
  EXPECT_TRUE(same("Monday", "monday"));
  EXPECT_FALSE(same("Monday", "monday", {.case_sensitive = true}));
}

/// What would take more than any answer may cost is given up, with no verdict of "correct".
TEST(Limits, EndWhatHasNoEnd) {
  std::string tower = "2";
  for (int n = 0; n < 50; ++n) tower = "2^{" + tower + "}";
  const std::vector<std::string> hostile = {tower,
                                            "10^{10^{10}}",
                                            "1000000!",
                                            "((((9!)!)!)!)",
                                            std::string(2'000, '{'),
                                            std::string(4'000, '('),
                                            "\\sqrt{" + tower + "}",
                                            "\\sum_{k=1}^{1000000000} k",
                                            "(x+y+z+w)^{100000}",
                                            std::string("1\0"
                                                        "2",
                                                        3),
                                            "\xff\xfe\x80",
                                            "\xed\xa0\x80"};
  for (const std::string& answer : hostile) {
    EXPECT_FALSE(same(answer, "4")) << answer.substr(0, 40);
    EXPECT_FALSE(same("4", answer)) << answer.substr(0, 40);
  }
  EXPECT_FALSE(same("2006!", "2004!"));
  EXPECT_FALSE(same("\\frac{1}{2004!}", "\\frac{1}{2006!}"));
}

}  // namespace

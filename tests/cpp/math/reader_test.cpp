#include "csrc/rewards/math/reader.h"

#include <gtest/gtest.h>

#include "tests/cpp/math/show.h"

namespace {

using r1::math::Terms;

/// All that a text can mean, then its words.
std::string readings(std::string_view text) {
  Terms terms;
  const r1::math::Readings found = read_answer(terms, text);
  std::string out;
  for (const r1::math::Id id : found.terms) out.append(show(terms, id)).append("; ");
  return out.append(found.words);
}

TEST(Reader, GivesEveryMeaningTheLikeliestFirst) {
  EXPECT_EQ(readings("1,234"), "1234; (list 1 234); ");
  EXPECT_EQ(readings("1,5"), "(list 1 5); 3/2; ");
  EXPECT_EQ(readings("7"), "7; ");
  EXPECT_EQ(readings("x \\approx 2"), "(relation0 x 2); ");
  EXPECT_EQ(readings("\\pi \\approx 3.14"), "pi; 157/50; ");
}

TEST(Reader, ReadsClocksAndWords) {
  EXPECT_EQ(readings("4:30 p.m."), "(clock 990); 430 pm");
  EXPECT_EQ(readings("Monday"), "monday; monday");
  EXPECT_EQ(readings("twenty-one"), "21; twenty one");
  EXPECT_EQ(readings("all real numbers"), "(numbers:R); all real numbers");
  EXPECT_EQ(readings("\\text{a}"), "a; a; a");
}

TEST(Reader, GivesNothingForNoise) {
  EXPECT_EQ(readings("\\frac{"), "");
  EXPECT_EQ(readings("+"), "");
  EXPECT_EQ(readings(""), "");
}

TEST(StripAnswer, TakesOffWhatStandsAround) {
  for (const auto* text : {"5", " 5. ", "**5**", "`5`", "\"5\"", "5\\\\", "5。"})
    EXPECT_EQ(r1::math::strip_answer(text), "5") << text;
  EXPECT_EQ(r1::math::strip_answer("0.333..."), "0.333...");
  EXPECT_EQ(r1::math::strip_answer("4 p.m."), "4 p.m.");
}

}  // namespace

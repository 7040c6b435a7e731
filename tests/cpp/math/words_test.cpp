#include "csrc/rewards/math/words.h"

#include <gtest/gtest.h>

namespace {

using r1::math::is_denial;
using r1::math::is_filler;
using r1::math::number_in_words;
using r1::math::Rational;

Rational ratio(std::int64_t top, std::int64_t bottom) { return Rational(top) / bottom; }

TEST(NumberInWords, ReadsWholeNumbers) {
  EXPECT_EQ(*number_in_words("zero"), 0);
  EXPECT_EQ(*number_in_words("seventeen"), 17);
  EXPECT_EQ(*number_in_words("twenty one"), 21);
  EXPECT_EQ(*number_in_words("one hundred and five"), 105);
  EXPECT_EQ(*number_in_words("two thousand twenty six"), 2026);
  EXPECT_EQ(*number_in_words("three million four hundred thousand"), 3'400'000);
  EXPECT_EQ(*number_in_words("minus eight"), -8);
}

TEST(NumberInWords, ReadsParts) {
  EXPECT_EQ(*number_in_words("half"), ratio(1, 2));
  EXPECT_EQ(*number_in_words("two thirds"), ratio(2, 3));
  EXPECT_EQ(*number_in_words("three quarters"), ratio(3, 4));
  EXPECT_EQ(*number_in_words("two and a half"), ratio(5, 2));
  EXPECT_EQ(*number_in_words("negative one half"), ratio(-1, 2));
}

TEST(NumberInWords, RefusesWhatIsNoNumber) {
  for (const auto* words :
       {"", "five six", "ten one", "and", "one and", "thousand million", "third", "two apples",
        "five or six", "minus", "twenty twelve", "and half"})
    EXPECT_FALSE(number_in_words(words)) << words;
}

TEST(Words, ScaleNumbers) {
  EXPECT_EQ(r1::math::scale_of_word("Million")->times, 1'000'000);
  EXPECT_EQ(r1::math::scale_of_word("dozen")->times, 12);
  EXPECT_EQ(r1::math::scale_of_word("tenths")->per, 10);
  EXPECT_FALSE(r1::math::scale_of_word("quarters")) << "may be coins";
  EXPECT_FALSE(r1::math::scale_of_word("apples"));
}

TEST(Words, AnnounceOrDeny) {
  EXPECT_TRUE(is_filler("The final answer is"));
  EXPECT_FALSE(is_filler("The moon is"));
  EXPECT_FALSE(is_filler(""));
  EXPECT_TRUE(is_denial("or more"));
  EXPECT_TRUE(is_denial("no solution"));
  EXPECT_FALSE(is_denial("more apples"));
}

}  // namespace

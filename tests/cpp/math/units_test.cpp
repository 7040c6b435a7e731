#include "csrc/rewards/math/units.h"

#include <gtest/gtest.h>

namespace {

using r1::math::parse_unit;
using r1::math::Rational;

Rational ratio(std::int64_t top, std::int64_t bottom) { return Rational(top) / bottom; }

TEST(Units, KnowDimensionAndSize) {
  const auto speed = parse_unit("km/h", true);
  ASSERT_TRUE(speed);
  EXPECT_EQ(speed->dimension, "length^1 time^-1 ");
  EXPECT_EQ(speed->factor, ratio(5, 18));
  EXPECT_EQ(parse_unit("miles per hour", false)->dimension, speed->dimension);
  EXPECT_EQ(parse_unit("mph", false)->factor, parse_unit("miles per hour", false)->factor);
}

TEST(Units, ReadPowers) {
  for (const auto* area : {"cm^2", "cm^{2}", "square centimeters", "sq cm", "cm squared", "cm2"}) {
    ASSERT_TRUE(parse_unit(area, false)) << area;
    EXPECT_EQ(parse_unit(area, false)->dimension, "length^2 ") << area;
    EXPECT_EQ(parse_unit(area, false)->factor, ratio(1, 10'000)) << area;
  }
  EXPECT_EQ(parse_unit("liters", false)->dimension, parse_unit("cm^3", false)->dimension);
  EXPECT_EQ(parse_unit("ml", false)->factor, parse_unit("cm^3", false)->factor);
}

TEST(Units, TakeOneExponentEach) {
  const auto strange = parse_unit("days" + std::string(70, '6'), false);
  EXPECT_TRUE(!strange || strange->dimension.empty());
}

TEST(Units, LeaveSingleLettersToMathematics) {
  EXPECT_TRUE(parse_unit("m", true));
  EXPECT_FALSE(parse_unit("m", false));
}

TEST(Units, TakeOtherWordsForNounsOfNoDimension) {
  const auto apples = parse_unit("red apples", false);
  ASSERT_TRUE(apples);
  EXPECT_EQ(apples->dimension, "");
  EXPECT_EQ(apples->words, "red apples");
  EXPECT_FALSE(parse_unit("", false));
  EXPECT_FALSE(parse_unit("a+b", false));
  EXPECT_FALSE(parse_unit(std::string(81, 'a'), false));
}

}  // namespace

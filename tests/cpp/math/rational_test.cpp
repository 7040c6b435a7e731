#include "csrc/rewards/math/rational.h"

#include <gtest/gtest.h>

namespace {

using r1::math::Budget;
using r1::math::Integer;
using r1::math::Rational;

Rational ratio(std::int64_t top, std::int64_t bottom) { return Rational(top) / bottom; }

TEST(Rational, AddsMultipliesAndDividesExactly) {
  Budget budget;
  EXPECT_EQ(*r1::math::add(ratio(1, 6), ratio(1, 3), budget), ratio(1, 2));
  EXPECT_EQ(*r1::math::multiply(ratio(2, 3), ratio(3, 4), budget), ratio(1, 2));
  EXPECT_EQ(*r1::math::divide(ratio(2, 3), ratio(4, 3), budget), ratio(1, 2));
  EXPECT_FALSE(r1::math::divide(ratio(2, 3), Rational(0), budget));
}

TEST(Rational, TellsSmallIntegers) {
  EXPECT_EQ(r1::math::small_integer(Rational(-7)), -7);
  EXPECT_FALSE(r1::math::small_integer(ratio(1, 2)));
  EXPECT_FALSE(r1::math::small_integer(Rational(Integer(1) << 62)));
  EXPECT_EQ(r1::math::small_integer(Rational((Integer(1) << 62) - 1)), (std::int64_t{1} << 62) - 1);
}

TEST(Rational, RoundsDown) {
  EXPECT_EQ(r1::math::floor(ratio(7, 2)), 3);
  EXPECT_EQ(r1::math::floor(ratio(-7, 2)), -4);
  EXPECT_EQ(r1::math::floor(Rational(-4)), -4);
}

TEST(Rational, RaisesToPowersOfEitherSign) {
  Budget budget;
  EXPECT_EQ(*r1::math::power(ratio(2, 3), 3, budget), ratio(8, 27));
  EXPECT_EQ(*r1::math::power(ratio(2, 3), -3, budget), ratio(27, 8));
  EXPECT_EQ(*r1::math::power(ratio(-2, 3), 0, budget), 1);
  EXPECT_FALSE(r1::math::power(Rational(0), -1, budget));
}

TEST(Rational, RefusesWhatIsTooLongWithoutWritingIt) {
  Budget budget;
  EXPECT_FALSE(r1::math::power(Rational(10), 1'000'000'000'000, budget));
  EXPECT_FALSE(r1::math::power(Rational(3), 40'000, budget));
  EXPECT_TRUE(r1::math::power(Rational(-1), 1'000'000'000'001, budget));
  EXPECT_FALSE(r1::math::factorial(1'000'000, budget));
}

TEST(Rational, CountsArrangements) {
  Budget budget;
  EXPECT_EQ(*r1::math::factorial(0, budget), 1);
  EXPECT_EQ(*r1::math::factorial(20, budget), 2432902008176640000);
  EXPECT_FALSE(r1::math::factorial(-1, budget));
  EXPECT_EQ(*r1::math::binomial(Rational(10), 3, budget), 120);
  EXPECT_EQ(*r1::math::binomial(Rational(3), 5, budget), 0);
}

TEST(Rational, FindsRootsThatAreRational) {
  Budget budget;
  EXPECT_EQ(*r1::math::exact_root(ratio(8, 27), 3, budget), ratio(2, 3));
  EXPECT_EQ(*r1::math::exact_root(Rational(-8), 3, budget), -2);
  EXPECT_FALSE(r1::math::exact_root(Rational(-4), 2, budget));
  EXPECT_FALSE(r1::math::exact_root(Rational(2), 2, budget));
  const Rational large = *r1::math::power(Rational(12'345), 40, budget);
  EXPECT_EQ(*r1::math::exact_root(large, 40, budget), 12'345);
  EXPECT_FALSE(r1::math::exact_root(large + 1, 40, budget));
}

TEST(Budget, StaysOverOnceItIs) {
  Budget budget;
  EXPECT_TRUE(budget.spend(Budget::kSteps));
  EXPECT_FALSE(budget.spend(1));
  EXPECT_TRUE(budget.is_over());
  EXPECT_FALSE(budget.spend(0));
  budget.reset();
  EXPECT_TRUE(budget.spend(1));
}

}  // namespace

#include "csrc/rewards/math/modular.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/cpp/math/show.h"

namespace {

using r1::math::Draws;
using r1::math::Terms;
using r1::math::Truth;

TEST(Draws, GivePrimesOfSixtyOneBits) {
  Draws draws(1);
  std::set<std::uint64_t> seen;
  for (int n = 0; n < 20; ++n) {
    const std::uint64_t prime = draws.prime();
    EXPECT_GE(prime, std::uint64_t{1} << 60);
    EXPECT_LT(prime, std::uint64_t{1} << 61);
    for (std::uint64_t factor = 3; factor < 2'000; factor += 2) EXPECT_NE(prime % factor, 0u);
    seen.insert(prime);
  }
  EXPECT_EQ(seen.size(), 20u);
}

Truth same(std::string_view a, std::string_view b) {
  Terms terms;
  const auto x = parse(terms, a), y = parse(terms, b);
  EXPECT_TRUE(is_rational_function(terms, x) && is_rational_function(terms, y)) << a;
  return same_rational_function(terms, x, y);
}

TEST(RationalFunctions, AreComparedByTheirValues) {
  EXPECT_EQ(same("(x+1)^2", "x^2+2x+1"), Truth::yes);
  EXPECT_EQ(same("\\frac{x^2-1}{x-1}", "x+1"), Truth::yes);
  EXPECT_EQ(same("(x+y)^{20}", "(y+x)^{19}(x+y)"), Truth::yes);
  EXPECT_EQ(same("(x+1)^2", "x^2+1"), Truth::no);
  EXPECT_EQ(same("x^{1000}", "x^{1001}"), Truth::no);
}

TEST(RationalFunctions, AreNotFooledByAKnownPrime) {
  EXPECT_EQ(same("x^{2305843009213693951}", "x"), Truth::no) << "Fermat modulo 2^61 - 1";
  EXPECT_EQ(same("x+2305843009213693951", "x"), Truth::no);
}

TEST(RationalFunctions, AreQuotientsOfPolynomials) {
  Terms terms;
  for (const auto* other : {"\\sqrt{x}", "2^x", "\\pi x", "|x|", "f(x)"})
    EXPECT_FALSE(is_rational_function(terms, parse(terms, other))) << other;
}

}  // namespace

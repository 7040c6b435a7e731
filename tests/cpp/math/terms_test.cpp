#include "csrc/rewards/math/terms.h"

#include <gtest/gtest.h>

#include "tests/cpp/math/show.h"

namespace {

using r1::math::Function;
using r1::math::Id;
using r1::math::kNone;
using r1::math::Terms;

TEST(Terms, StoresEqualTermsOnce) {
  Terms terms;
  const Id x = terms.symbol("x"), y = terms.symbol("y"), two = terms.integer(2);
  EXPECT_EQ(terms.symbol("x"), x);
  EXPECT_EQ(terms.add(x, y), terms.add(y, x));
  EXPECT_EQ(terms.multiply(terms.multiply(x, two), y), terms.multiply(two, terms.multiply(y, x)));
  EXPECT_EQ(terms.add(terms.add(x, two), y), terms.add(x, terms.add(two, y)));
  EXPECT_NE(terms.add(x, y), terms.multiply(x, y));
}

TEST(Terms, KeepsDecimalsApartFromExactNumbers) {
  Terms terms;
  const Id exact = terms.integer(1), decimal = terms.number(1, true);
  EXPECT_NE(exact, decimal);
  EXPECT_TRUE(terms[terms.add(decimal, terms.symbol("x"))].inexact);
}

TEST(Terms, FoldsNumbers) {
  Terms terms;
  const auto folded = [&](std::string_view text) { return show(terms, parse(terms, text)); };
  EXPECT_EQ(folded("1+2*3"), "7");
  EXPECT_EQ(folded("2^{-3}"), "1/8");
  EXPECT_EQ(folded("\\frac{6}{4}"), "3/2");
  EXPECT_EQ(folded("\\sqrt{\\frac{9}{4}}"), "3/2");
  EXPECT_EQ(folded("5!"), "120");
  EXPECT_EQ(folded("i^{7}"), "(* -1 i)");
  EXPECT_EQ(folded("(x^2)^3"), "(^ x 6)");
  EXPECT_EQ(folded("(\\sqrt{2})^2"), "2");
  EXPECT_EQ(folded("(\\sqrt{x})^2"), "(^ (call18 x 2) 2)") << "x may be negative";
}

TEST(Terms, WritesSquareRootsInLowestTerms) {
  Terms terms;
  const auto folded = [&](std::string_view text) { return show(terms, parse(terms, text)); };
  EXPECT_EQ(folded("\\sqrt{12}"), "(* (call18 3 2) 2)");
  EXPECT_EQ(folded("\\sqrt{20402}"), "(* (call18 2 2) 101)");
  EXPECT_EQ(folded("\\sqrt{\\frac{1}{2}}"), "(* (call18 2 2) 1/2)");
  EXPECT_EQ(folded("\\frac{1}{\\sqrt{2}}"), "(* (call18 2 2) 1/2)");
  EXPECT_EQ(folded("\\sqrt{2}\\sqrt{6}x"), "(* (call18 3 2) 2 x)");
  EXPECT_EQ(folded("\\sqrt{2}\\sqrt{8}"), "4");
  EXPECT_EQ(folded("\\sqrt{2}^3"), "(* (call18 2 2) 2)");
  EXPECT_EQ(folded("\\sqrt{30}"), "(call18 30 2)");
  EXPECT_EQ(folded("\\sqrt{-12}"), "(call18 -12 2)") << "only of what is positive";
}

TEST(Terms, BuildsNothingThatIsUndefined) {
  Terms terms;
  EXPECT_EQ(terms.divide(terms.integer(1), terms.integer(0)), kNone);
  EXPECT_EQ(terms.add(kNone, terms.integer(1)), kNone);
  EXPECT_EQ(terms.call(Function::sin, std::array{kNone}), kNone);
}

TEST(Terms, PutsATermInASymbolsPlace) {
  Terms terms;
  const Id x = terms.symbol("x");
  const Id square = terms.add(terms.power(x, terms.integer(2)), terms.integer(1));
  EXPECT_EQ(show(terms, terms.substitute(square, x, terms.integer(3))), "10");
  EXPECT_EQ(terms.substitute(square, terms.symbol("y"), terms.integer(3)), square);
  EXPECT_EQ(terms.symbols(square), std::vector<Id>{x});
}

TEST(Terms, KnowsWhatIsClosed) {
  Terms terms;
  EXPECT_TRUE(terms[parse(terms, "\\sqrt{2}+\\pi")].closed);
  EXPECT_FALSE(terms[parse(terms, "\\sqrt{x}")].closed);
  EXPECT_FALSE(terms[parse(terms, "f(2)")].closed) << "an unknown function is no number";
}

TEST(Terms, EndsTheBudgetWhereThereAreTooMany) {
  Terms terms;
  for (std::int64_t n = 0; n <= static_cast<std::int64_t>(Terms::kMaxNodes); ++n) terms.integer(n);
  EXPECT_TRUE(terms.budget.is_over());
  EXPECT_EQ(terms.symbol("x"), kNone);
  terms.clear();
  EXPECT_NE(terms.symbol("x"), kNone);
}

TEST(Terms, EndsTheBudgetWhereTheyAreTooDeep) {
  Terms terms;
  Id id = terms.symbol("x");
  for (int n = 0; n < Terms::kMaxDepth && id != kNone; ++n)
    id = terms.call(Function::sin, std::array{id});
  EXPECT_NE(id, kNone);
  EXPECT_EQ(terms.call(Function::sin, std::array{id}), kNone);
  EXPECT_TRUE(terms.budget.is_over());
}

TEST(Terms, NothingIsNoKindOfAnswer) {
  Terms terms;
  EXPECT_TRUE(terms.is(kNone, r1::math::Op::none));
  EXPECT_TRUE(terms.children(kNone).empty());
  EXPECT_TRUE(terms.symbols(kNone).empty());
  terms.budget.end();
  EXPECT_EQ(terms.subtract(kNone, kNone), kNone);
}

}  // namespace

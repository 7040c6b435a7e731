#include "csrc/rewards/math/parser.h"

#include <gtest/gtest.h>

#include "tests/cpp/math/show.h"

namespace {

using r1::math::Reading;
using r1::math::Terms;

struct Case {
  std::string_view text, term;
};

std::string parsed(std::string_view text, Reading reading = {}) {
  Terms terms;
  return show(terms, parse(terms, text, reading));
}

class Parses : public testing::TestWithParam<Case> {};
TEST_P(Parses, IntoATerm) { EXPECT_EQ(parsed(GetParam().text), GetParam().term); }

INSTANTIATE_TEST_SUITE_P(
    Precedence, Parses,
    testing::Values(Case{"a+b*c", "(+ (* b c) a)"}, Case{"-x^2", "(* (^ x 2) -1)"},
                    Case{"2^3^2", "512"}, Case{"a-b-c", "(+ (* -1 b) (* -1 c) a)"},
                    Case{"a/b/c", "(* (^ b -1) (^ c -1) a)"}, Case{"1/2x", "(* 1/2 x)"},
                    Case{"2xy", "(* 2 x y)"}, Case{"x^{2}y", "(* (^ x 2) y)"},
                    Case{"n!^2", "(^ (call23 n) 2)"}, Case{"2(x+1)", "(* (+ 1 x) 2)"}));

INSTANTIATE_TEST_SUITE_P(
    Commands, Parses,
    testing::Values(Case{"\\frac12", "1/2"}, Case{"\\frac{1}{2}x", "(* 1/2 x)"},
                    Case{"\\sqrt[3]{x}", "(call18 x 3)"}, Case{"\\sqrt2", "(call18 2 2)"},
                    Case{"\\sin^2 x", "(^ (call0 x) 2)"}, Case{"\\sin^{-1} x", "(call6 x)"},
                    Case{"\\log_2 8", "(* (^ (call16 2) -1) (call16 8))"},
                    Case{"\\binom{5}{2}", "10"}, Case{"\\sum_{k=1}^{4} k^2", "30"},
                    Case{"\\prod_{k=1}^{4} k", "24"}, Case{"|x|", "(call19 x)"},
                    Case{"\\lfloor 2.5 \\rfloor", "2"}, Case{"\\frac{dy}{dx}", "dy/dx"},
                    Case{"e^{i\\pi}", "(^ e (* i pi))"}, Case{"\\gcd(12, 18)", "6"},
                    Case{"7 \\bmod 4", "3"}, Case{"\\angle ABC", "(* A B C)"}));

INSTANTIATE_TEST_SUITE_P(
    Brackets, Parses,
    testing::Values(Case{"(1,2)", "(tuple 1 2)"}, Case{"[1,2]", "(square 1 2)"},
                    Case{"[1,2)", "(interval1 1 2)"}, Case{"]1,2]", "(interval2 1 2)"},
                    Case{"]1,2[", "(tuple 1 2)"}, Case{"\\{1,2\\}", "(set 1 2)"},
                    Case{"\\{x \\mid x>1\\}", "(such-that (relation4 x 1))"},
                    Case{"\\{\\}", "(numbers)"},
                    Case{"(1,2)\\cup(3,4)", "(union (tuple 1 2) (tuple 3 4))"},
                    Case{"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "(matrix2 1 2 3 4)"},
                    Case{"\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}", "-2"},
                    Case{"\\begin{cases}x=1\\\\y=2\\end{cases}",
                         "(list (relation0 x 1) (relation0 y 2))"}));

INSTANTIATE_TEST_SUITE_P(
    Statements, Parses,
    testing::Values(Case{"x=2", "(relation0 x 2)"},
                    Case{"1<x\\le 3", "(and (relation2 1 x) (relation3 x 3))"},
                    Case{"x<1 \\text{ or } x>3", "(or (relation2 x 1) (relation4 x 3))"},
                    Case{"1, 2", "(list 1 2)"}, Case{"\\ge 5", "(relation5 ? 5)"},
                    Case{"at least 5", "(relation5 ? 5)"}, Case{"1:2:3", "(ratio 1 2 3)"},
                    Case{"2k, k\\in\\mathbb{Z}", "(* 2 k)"},
                    Case{"2k (k\\in\\mathbb{Z})", "(* 2 k)"}, Case{"= 5", "5"},
                    Case{"The answer is 5.", "5"}, Case{"negative 5", "-5"},
                    Case{"2\\sqrt{13} \\approx 7.21", "(* (call18 13 2) 2)"}));

INSTANTIATE_TEST_SUITE_P(Marks, Parses,
                         testing::Values(Case{"50\\%", "(% 50)"}, Case{"50 percent", "(% 50)"},
                                         Case{"\\$5", "(unit:dollar^1  5 1)"},
                                         Case{"5 \\text{ cm}", "(unit:length^1  5 1/100)"},
                                         Case{"5 apples", "(unit:?apples 5 1)"},
                                         Case{"90^\\circ", "(call34 90)"},
                                         Case{"5^\\circ C", "(unit:celsius^1  5 1)"},
                                         Case{"2.5 million", "2500000"},
                                         Case{"204_5", "(based5 54 204)"}));

INSTANTIATE_TEST_SUITE_P(NoMathematics, Parses,
                         testing::Values(Case{"", "none"}, Case{"\\frac{1}", "none"},
                                         Case{"(1", "none"}, Case{"1)", "none"},
                                         Case{"2 +", "none"}, Case{"hello", "none"},
                                         Case{"\\unknown", "none"}, Case{"3 4", "none"},
                                         Case{"x2", "none"}, Case{"no", "none"},
                                         Case{"5 or more", "(or 5 (* e m o r))"},
                                         Case{"5 \\text{ or more}", "none"}, Case{"1/0", "none"}));

TEST(Literal, ReadsHowNumbersAreWritten) {
  EXPECT_EQ(parsed("1,234,567"), "1234567");
  EXPECT_EQ(parsed("1{,}234"), "1234");
  EXPECT_EQ(parsed("1\\,234"), "1234");
  EXPECT_EQ(parsed("1 234"), "1234");
  EXPECT_EQ(parsed("1.234.567"), "1234567");
  EXPECT_EQ(parsed("0.25"), "1/4");
  EXPECT_EQ(parsed("1.5e3"), "1500");
  EXPECT_EQ(parsed("1.5 \\times 10^{-2}"), "3/200");
  EXPECT_EQ(parsed("0.1\\overline{6}"), "1/6");
  EXPECT_EQ(parsed("0.(3)"), "1/3");
  EXPECT_EQ(parsed("0.\\dot{1}2\\dot{3}"), "41/333");
  EXPECT_EQ(parsed("0.333..."), "1/3");
  EXPECT_EQ(parsed("2\\frac12"), "5/2");
  EXPECT_EQ(parsed("2 1/2"), "5/2");
  EXPECT_EQ(parsed("1A_{16}"), "(based16 26 1A)");
  EXPECT_EQ(parsed("29_8"), "none") << "no digit of base eight";
}

TEST(Reading, TakesAnAmbiguousCommaEachWay) {
  using Commas = Reading::Commas;
  EXPECT_EQ(parsed("1,234", {.commas = Commas::list}), "(list 1 234)");
  EXPECT_EQ(parsed("1,5"), "(list 1 5)");
  EXPECT_EQ(parsed("1,5", {.commas = Commas::decimal}), "3/2");
  EXPECT_EQ(parsed("(1,234)"), "(tuple 1 234)") << "brackets hold lists";
}

TEST(Reading, TakesALetterForAUnitOrAVariable) {
  EXPECT_EQ(parsed("5 m"), "(* 5 m)");
  EXPECT_EQ(parsed("5 m", {.letter_units = true}), "(unit:length^1  5 1)");
  EXPECT_EQ(parsed("5m", {.letter_units = true}), "(* 5 m)");
}

TEST(Parser, EndsTheBudgetWhereBracketsAreTooDeep) {
  Terms terms;
  const std::string text = std::string(1'000, '(') + "1" + std::string(1'000, ')');
  EXPECT_EQ(parse(terms, text), r1::math::kNone);
  EXPECT_TRUE(terms.budget.is_over());
}

}  // namespace

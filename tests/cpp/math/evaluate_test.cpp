/// Balls and what is computed in them: every true value must lie inside.
#include "csrc/rewards/math/evaluate.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/cpp/math/show.h"

namespace {

using r1::math::Ball;
using r1::math::Evaluator;
using r1::math::Float;
using r1::math::Point;
using r1::math::State;
using r1::math::Terms;
using Wide = Float<256>;

/// Whether a ball of doubles holds a ball of 256 bits.
bool holds(const Ball<double>& outer, const Ball<Wide>& inner) {
  return abs(Wide(outer.mid) - inner.mid) <= Wide(outer.rad) + inner.rad;
}

TEST(Ball, HoldsWhatHigherPrecisionFinds) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> draw(-20, 20);
  const auto both = [](auto f, double x, double y) {
    const auto small = f(Ball<double>{x, 0}, Ball<double>{y, 0});
    const auto wide = f(Ball<Wide>{Wide(x), 0}, Ball<Wide>{Wide(y), 0});
    EXPECT_EQ(small.fine(), wide.fine());
    EXPECT_TRUE(!small.fine() || holds(small, wide)) << x << " " << y;
  };
  for (int n = 0; n < 500; ++n) {
    const double x = draw(random), y = draw(random);
    both([](auto a, auto b) { return (a + b) * (a - b); }, x, y);
    both([](auto a, auto b) { return a / b + a * a * a; }, x, y);
    both([](auto a, auto b) { return exp(a) * sin(b); }, x, y);
    both([](auto a, auto b) { return root(a * a + b * b) - cos(a); }, x, y);
    both([](auto a, auto b) { return log(a * a) + atan(b); }, x, y);
  }
}

TEST(Ball, SaysWhyItHasNoValue) {
  const Ball<double> zero, wide{0, 1}, minus{-2, 0.5};
  EXPECT_EQ((Ball<double>{1, 0} / zero).state, State::undefined);
  EXPECT_EQ((Ball<double>{1, 0} / wide).state, State::imprecise);
  EXPECT_EQ(root(minus).state, State::undefined);
  EXPECT_EQ(log(wide).state, State::imprecise);
  EXPECT_EQ((zero + log(minus)).state, State::undefined) << "states go on";
}

double value(std::string_view text, bool decimal_logs = false) {
  Terms terms;
  const Point nowhere;
  const auto found = Evaluator<Wide>(terms, nowhere, decimal_logs).at(parse(terms, text));
  EXPECT_TRUE(found.fine()) << text;
  return static_cast<double>(found.re.mid);
}

TEST(Evaluator, KnowsTheFunctions) {
  EXPECT_DOUBLE_EQ(value("\\sin 30^\\circ"), 0.5);
  EXPECT_DOUBLE_EQ(value("\\arctan 1"), std::atan(1.0));
  EXPECT_DOUBLE_EQ(value("\\ln 10"), std::log(10.0));
  EXPECT_DOUBLE_EQ(value("\\log 1000"), std::log(1000.0));
  EXPECT_DOUBLE_EQ(value("\\log 1000", true), 3);
  EXPECT_DOUBLE_EQ(value("\\sqrt[3]{-8}"), -2);
  EXPECT_DOUBLE_EQ(value("\\cosh 1"), std::cosh(1.0));
  EXPECT_DOUBLE_EQ(value("\\max(\\pi, 3)"), std::acos(-1.0));
  EXPECT_DOUBLE_EQ(value("\\lfloor \\pi^3 \\rfloor"), 31);
  EXPECT_DOUBLE_EQ(value("|3+4i|"), 5);
  EXPECT_DOUBLE_EQ(value("e^{i\\pi}"), -1);
}

TEST(Evaluator, TakesSymbolsFromThePoint) {
  Terms terms;
  const Point point{{terms.symbol("x")}, {r1::math::Rational(3)}};
  const auto id = parse(terms, "x^2+\\sqrt{x+1}");
  EXPECT_DOUBLE_EQ(static_cast<double>(Evaluator<Wide>(terms, point, false).at(id).re.mid), 11);
}

TEST(Evaluator, FindsLogarithmsOfWhatIsTooLargeToWrite) {
  Terms terms;
  const Point nowhere;
  Evaluator<Wide> evaluator(terms, nowhere, false);
  const auto tower = evaluator.log_magnitude(parse(terms, "10^{1000000}"));
  ASSERT_TRUE(tower.fine());
  EXPECT_NEAR(static_cast<double>(tower.mid), 1e6 * std::log(10.0), 1e-3);
}

}  // namespace

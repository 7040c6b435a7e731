#include "csrc/rewards/math/regions.h"

#include <gtest/gtest.h>

#include "tests/cpp/math/show.h"

namespace {

using r1::math::Piece;
using r1::math::Region;
using r1::math::Terms;

/// The region as intervals, or "none".
std::string region(std::string_view text) {
  Terms terms;
  const r1::MathPolicy policy;
  r1::math::Scalars scalars(terms, policy, false);
  const auto found = r1::math::Regions(terms, scalars).of(parse(terms, text));
  if (!found) return "none";
  std::string out;
  for (const Piece& piece : *found) {
    out.append(piece.low_closed ? "[" : "(").append(show(terms, piece.low)).append(", ");
    out.append(show(terms, piece.high)).append(piece.high_closed ? "]" : ")");
  }
  return out;
}

TEST(Regions, ComeFromIntervalsAndSetOperations) {
  EXPECT_EQ(region("(1,2]"), "(1, 2]");
  EXPECT_EQ(region("(-\\infty, 3)"), "((* -1 oo), 3)");
  EXPECT_EQ(region("(1,3)\\cup(2,4]"), "(1, 4]");
  EXPECT_EQ(region("(1,2)\\cup[2,3)"), "(1, 3)");
  EXPECT_EQ(region("(3,4)\\cup(1,2)"), "(1, 2)(3, 4)");
  EXPECT_EQ(region("[1,3]\\cap[2,5]"), "[2, 3]");
  EXPECT_EQ(region("\\mathbb{R}\\setminus\\{0\\}"), "((* -1 oo), 0)(0, oo)");
  EXPECT_EQ(region("\\emptyset"), "");
}

TEST(Regions, ComeFromInequalities) {
  EXPECT_EQ(region("x>3"), "(3, oo)");
  EXPECT_EQ(region("2x+1\\le 5"), "((* -1 oo), 2]");
  EXPECT_EQ(region("-x<3"), "(-3, oo)");
  EXPECT_EQ(region("1<x\\le 2"), "(1, 2]");
  EXPECT_EQ(region("x^2<4"), "(-2, 2)");
  EXPECT_EQ(region("x^2\\ge 4"), "((* -1 oo), -2][2, oo)");
  EXPECT_EQ(region("x^2+1<0"), "");
  EXPECT_EQ(region("x\\ne 2"), "((* -1 oo), 2)(2, oo)");
  EXPECT_EQ(region("\\{x \\mid x>1\\}"), "(1, oo)");
}

TEST(Regions, AreNoneWhereEndsHaveNoOrder) {
  EXPECT_EQ(region("(a,b)"), "none");
  EXPECT_EQ(region("(2,1)"), "none");
  EXPECT_EQ(region("x>y"), "none");
  EXPECT_EQ(region("x^3>1"), "none");
}

}  // namespace

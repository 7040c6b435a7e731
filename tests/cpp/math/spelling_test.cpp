#include "csrc/rewards/math/spelling.h"

#include <gtest/gtest.h>

namespace {

using r1::math::fold_words;
using r1::math::to_latex;

TEST(Spelling, WritesMathematicsInAscii) {
  EXPECT_EQ(to_latex("2×3÷4−5"), "2\\times 3/4-5");
  EXPECT_EQ(to_latex("x²⁺¹"), "x^{2+1}");
  EXPECT_EQ(to_latex("a₁₂"), "a_{12}");
  EXPECT_EQ(to_latex("½"), "\\frac{1}{2}");
  EXPECT_EQ(to_latex("（１，２）"), "(1,2)");
  EXPECT_EQ(to_latex("x≤π"), "x\\leq \\pi ");
  EXPECT_EQ(to_latex("1\u200b2\ufeff"), "12");
}

TEST(Spelling, LeavesEverythingElse) {
  for (const std::string text : {"plain \\frac12", "答案", "\xff\xfe", "\xe2\x89", "é"})
    EXPECT_EQ(to_latex(text), text);
}

TEST(Spelling, FoldsWords) {
  EXPECT_EQ(fold_words("\\text{The Moon.}"), "moon");
  EXPECT_EQ(fold_words("twenty-one"), "twenty one");
  EXPECT_EQ(fold_words("  A   b "), "b") << "a leading article goes";
  EXPECT_EQ(fold_words("Monday,"), "monday");
  EXPECT_EQ(fold_words("\\mathrm{no~solution}"), "no solution");
  EXPECT_EQ(fold_words(""), "");
}

}  // namespace

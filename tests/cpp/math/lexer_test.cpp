#include "csrc/rewards/math/lexer.h"

#include <gtest/gtest.h>

#include <string>

namespace {

using r1::math::Gap;
using r1::math::Lexer;

/// Tokens by their kinds: #12 a number, x a word, \frac a command, 'apples' words, + a sign; ~ and
/// _ for the gaps in front of them.
std::string tokens(std::string_view latex) {
  Lexer lexer;
  if (!lexer.run(latex)) return "too many";
  std::string out;
  for (const auto& [kind, gap, text] : lexer.tokens()) {
    if (gap != Gap::none && !out.empty() && kind != r1::math::Lexeme::end)
      out.append(gap == Gap::thin ? "~" : "_");
    switch (kind) {
      case r1::math::Lexeme::end:
        return out;
      case r1::math::Lexeme::number:
        out.append("#").append(text);
        break;
      case r1::math::Lexeme::command:
        out.append("\\").append(text);
        break;
      case r1::math::Lexeme::words:
        out.append("'").append(text).append("'");
        break;
      default:
        out.append(text);
    }
    out.append(" ");
  }
  return out;
}

TEST(Lexer, TellsNumbersWordsCommandsAndSigns) {
  EXPECT_EQ(tokens("2x+\\frac{1}{3.5}"), "#2 x + \\frac { #1 } { #3.5 } ");
  EXPECT_EQ(tokens(".5"), "#.5 ");
  EXPECT_EQ(tokens("5."), "#5 . ");
  EXPECT_EQ(tokens("a<=b!=c"), "a <= b != c ");
}

TEST(Lexer, DropsWhatOnlyLaysOut) {
  EXPECT_EQ(tokens("\\left(\\displaystyle x\\right)"), "( _x ) ");
  EXPECT_EQ(tokens("\\(x\\)"), "x ");
  EXPECT_EQ(tokens("$x$"), "x ");
  EXPECT_EQ(tokens("\\boxed{7}"), "{ #7 } ");
  EXPECT_EQ(tokens("\\textcolor{red}{x}"), "{ x } ");
}

TEST(Lexer, KeepsGaps) {
  EXPECT_EQ(tokens("1\\,000"), "#1 ~#000 ");
  EXPECT_EQ(tokens("1 000"), "#1 _#000 ");
  EXPECT_EQ(tokens("5\\quad x"), "#5 _x ");
}

TEST(Lexer, TellsMoneyFromFormulas) {
  EXPECT_EQ(tokens("$5"), "\\$ #5 ");
  EXPECT_EQ(tokens("\\$5"), "\\$ #5 ");
  EXPECT_EQ(tokens("$5$"), "#5 ");
}

TEST(Lexer, TellsWordsFromMathematicsInText) {
  EXPECT_EQ(tokens("5\\text{ square feet}"), "#5 _'square feet' ");
  EXPECT_EQ(tokens("\\text{x}"), "x ");
  EXPECT_EQ(tokens("\\mathrm{and}"), "and ");
  EXPECT_EQ(tokens("\\text{3 apples}"), "#3 _apples ");
  EXPECT_EQ(tokens("\\mathbb{R}"), "\\mathbb R ");
  EXPECT_EQ(tokens("\\mathbf Z"), "Z ");
}

TEST(Lexer, EndsWhereThereAreTooMany) {
  EXPECT_EQ(tokens(std::string(Lexer::kMaxTokens + 1, '+')), "too many");
  EXPECT_NE(tokens(std::string(Lexer::kMaxTokens - 1, '+')), "too many");
}

TEST(Lexer, ReadsWhatIsBroken) {
  for (const std::string text :
       {"\\", "\\text{", "{", "}", "\\left", "\\mathbb", "\\frac", "$", "\xff"})
    EXPECT_NE(tokens(text), "too many");
  std::string nested;
  for (int depth = 0; depth < 200; ++depth) nested.append("\\text{1 ");
  EXPECT_NE(tokens(nested + std::string(200, '}')), "too many");
}

}  // namespace

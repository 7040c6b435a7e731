#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace r1::math {

enum class Lexeme : std::uint8_t {
  end,
  number,   // digits, with a point or not
  word,     // letters in a row
  command,  // \name, without the backslash; also "{", "}", "|", "\\" and the like
  sign,     // one of + - * / ^ _ ! ( ) [ ] { } | , ; : = < > % ' & ? "
            // and of <= >= != == written in two
  words,    // \text{...}: its content, no mathematics in it
};

enum class Gap : std::uint8_t { none, thin, blank };

struct Token {
  Lexeme kind = Lexeme::end;
  Gap gap = Gap::none;  // what stood in front of it
  std::string_view text;
};

/// The tokens of an answer, with all that only lays out a formula gone: $ and \( \), \left, sizes,
/// fonts, boxes. Thin spaces stay as gaps, since they group digits.
class Lexer {
 public:
  static constexpr std::size_t kMaxTokens = 2'048;

  /// @param latex  from `to_latex`; must outlive the tokens
  /// @return false where there are too many tokens
  bool run(std::string_view latex);
  const std::vector<Token>& tokens() const { return tokens_; }

 private:
  bool lex(std::string_view text, int depth);
  bool command(std::string_view& text, int depth);
  bool wrapped_text(std::string_view body, int depth);
  void push(Lexeme kind, std::string_view text);

  std::vector<Token> tokens_;
  Gap gap_ = Gap::none;
  bool dollars_are_money_ = false;
};

/// Whether a text holds nothing but letters, blanks and a little punctuation: words.
bool is_wordy(std::string_view text);

}  // namespace r1::math

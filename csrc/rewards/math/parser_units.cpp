#include <algorithm>
#include <array>

#include "csrc/rewards/math/parser.h"
#include "csrc/rewards/math/units.h"
#include "csrc/rewards/math/words.h"

namespace r1::math {
using Text = std::string_view;

bool Parser::is_unit_word(const Token& token) const {
  if (token.kind == Lexeme::words) return true;
  if (token.kind != Lexeme::word) return false;
  Function function;
  const bool minutes = (token.text == "min" || token.text == "sec") && (&token == &peek()) &&
                       !at_sign("(", 1) && !at_sign("{", 1) && !at_command("{", 1);
  if (minutes && tokens_[at_ - 1].kind == Lexeme::number) return true;
  if (find_function(token.text, function) || token.text == "pi" || token.text == "infinity")
    return false;
  // In 2h 30min no other number could follow the letter.
  if (token.text == "h" && peek(1).kind == Lexeme::number && peek(1).gap != Gap::none) return true;
  if (token.text.size() == 1) {
    return reading_.letter_units && token.gap != Gap::none &&
           Text("msghlLNJWVAK").find(token.text) != Text::npos;
  }
  const auto unit = parse_unit(token.text, false);
  if (unit && !unit->dimension.empty()) return true;
  return token.text.size() > 2 && !are_variables(token.text) && token.gap != Gap::none;
}

/// Takes "million", "dozen", "squared" or "percent" off the front of the words behind a value.
Id Parser::scaled(Id value, std::string& phrase) {
  for (;;) {
    const std::string word = phrase.substr(0, phrase.find(' '));
    if (const auto scale = scale_of_word(word)) {
      value = terms_.multiply(value, terms_.number(Rational(scale->times) / scale->per));
    } else if (word == "squared" || word == "cubed") {
      value = terms_.power(value, terms_.integer(word == "squared" ? 2 : 3));
    } else if (word == "percent") {
      value = terms_.make(Op::percent, 0, std::array{value});
    } else {
      return value;
    }
    phrase.erase(0, std::min(word.size() + 1, phrase.size()));
  }
}

/// Takes the words behind a value for its unit: up to the next comma, connective or bracket.
Id Parser::with_unit(Id value) {
  if (value == kNone || at_end()) return value;
  if (!is_unit_word(peek()) || at_word("to") || at_connective() || at_range()) return value;
  std::string phrase;
  bool formal = peek().kind == Lexeme::words;
  while (!at_end() && !at_connective() && !at_sign(")") && !at_sign("]") && !at_sign("=") &&
         !at_sign("|") && !at_command("}") && !at_sign("}") && !at_command("cup") &&
         phrase.size() < 80 && !find_relation(peek())) {
    const Token& token = peek();
    if (token.kind == Lexeme::number && token.gap != Gap::none) break;  // 1 hour 30 minutes
    if (token.kind == Lexeme::command && token.text != "cdot" && token.text != "circ") return kNone;
    if (token.text == "." && at_sign(".", 1)) return kNone;
    if (!phrase.empty() && token.gap != Gap::none) phrase.push_back(' ');
    if (token.kind == Lexeme::command) {
      phrase.push_back(' ');
    } else {
      phrase.append(token.text);
    }
    ++at_;
    if (phrase.ends_with('^') && at_sign("{")) {
      ++at_;
      while (!at_end() && !at_sign("}")) phrase.append(tokens_[at_++].text);
      if (!take_sign("}")) return kNone;
    }
  }
  while (!phrase.empty() && (phrase.back() == '.' || phrase.back() == ' ')) phrase.pop_back();
  value = scaled(value, phrase);
  if (phrase.empty()) return value;
  const auto unit = parse_unit(phrase, formal || reading_.letter_units || phrase == "h");
  if (!unit || (unit->dimension.empty() && is_denial(phrase))) return kNone;
  const std::string dimension = unit->dimension.empty() ? "?" + unit->words : unit->dimension;
  const Id first =
      terms_.make(Op::quantity, 0, std::array{value, terms_.number(unit->factor)}, dimension);
  if (peek().kind != Lexeme::number) return first;
  const Id second = with_unit(additive());
  if (!terms_.is(second, Op::quantity) || terms_.name(second) != dimension) return kNone;
  const auto plain = [&](Id id) {
    return terms_.multiply(terms_.child(id, 0), terms_.child(id, 1));
  };
  const Id total = terms_.add(plain(first), plain(second));
  return terms_.make(Op::quantity, 0, std::array{total, terms_.integer(1)}, dimension);
}

}  // namespace r1::math

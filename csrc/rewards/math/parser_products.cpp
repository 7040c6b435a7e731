#include <algorithm>
#include <array>
#include <optional>

#include "csrc/rewards/math/parser.h"

namespace r1::math {
namespace {

using Text = std::string_view;

std::optional<Text> currency_of(const Token& token) {
  if (token.kind != Lexeme::command) return std::nullopt;
  if (token.text == "$") return "dollar^1 ";
  if (token.text == "euro") return "euro^1 ";
  if (token.text == "pounds") return "sterling^1 ";
  if (token.text == "yen") return "yen^1 ";
  return std::nullopt;
}

}  // namespace

Id Parser::additive() {
  const auto signed_value = [&]() {
    if (take_command("pm")) return terms_.make(Op::plus_minus, 0, std::array{multiplicative()});
    if (take_command("mp")) return terms_.make(Op::plus_minus, 1, std::array{multiplicative()});
    if (at_sign("+") && (at_sign("/", 1) || at_sign("-", 1)) && at_sign("-", 2)) {
      at_ += 3;  // +/-
      return terms_.make(Op::plus_minus, 0, std::array{multiplicative()});
    }
    if (take_sign("+")) return multiplicative();
    if (take_sign("-")) return terms_.negate(multiplicative());
    return kNone;
  };
  std::vector<Id> parts;
  if (const std::size_t before = at_; parts.push_back(signed_value()), at_ == before) {
    parts.back() = multiplicative();
  }
  for (;;) {
    if (parts.back() == kNone) return kNone;
    const std::size_t before = at_;
    const Id next = signed_value();
    if (at_ == before) break;
    parts.push_back(next);
  }
  return terms_.sum(parts);
}

Id Parser::multiplicative() {
  const Depth depth(*this);
  if (terms_.budget.is_over()) return kNone;
  Id left = unary();
  while (left != kNone) {
    if (take_sign("*") || take_command("cdot") || take_command("times") || take_command("ast")) {
      left = terms_.multiply(left, unary());
    } else if (take_sign("/") || take_command("div")) {
      left = terms_.divide(left, unary());
    } else if (take_command("bmod") || take_word("mod")) {
      left = terms_.call(Function::mod, std::array{left, unary()});
    } else if (take_command("choose")) {
      left = terms_.call(Function::binomial, std::array{left, unary()});
    } else if (take_command("pmod") || take_command("mod")) {
      left = congruent(left, argument());
    } else if (at_sign("(") && at(Lexeme::word, "mod", 1)) {
      at_ += 2;
      left = congruent(left, additive());
      if (!take_sign(")")) return kNone;
    } else if (begins_value()) {
      const bool number = peek().kind == Lexeme::number;
      const Token& before = tokens_[at_ - 1];
      // "3 4" and "x2" are no products; "(1+2)3" and "2^{3}4" are.
      if (number && before.text != ")" && before.text != "}" && before.text != "]") return kNone;
      ambiguity_.letter_units |= before.kind == Lexeme::number && peek().gap != Gap::none &&
                                 peek().kind == Lexeme::word && peek().text.size() == 1;
      const Id right = postfix();
      const bool range = range_of_parameter({left, right});  // 2k (k \in \mathbb{Z})
      if (!range) left = terms_.multiply(left, right);
    } else {
      break;
    }
  }
  return left;
}

/// 12 (mod 7): a class, by its smallest member that is not negative.
Id Parser::congruent(Id value, Id modulus) {
  if (value == kNone || modulus == kNone) return kNone;
  if (terms_.is(value, Op::number) && terms_.is(modulus, Op::number) && terms_.value(modulus) > 0) {
    value = terms_.call(Function::mod, std::array{value, modulus});
  }
  return terms_.call(Function::function, std::array{value, modulus}, "pmod");
}

/// A factor behind a sign of its own: 2 * -3.
Id Parser::unary() {
  const Depth depth(*this);
  if (terms_.budget.is_over()) return kNone;
  if (take_sign("-")) return terms_.negate(unary());
  if (take_sign("+")) return unary();
  if (take_command("pm")) return terms_.make(Op::plus_minus, 0, std::array{unary()});
  return postfix();
}

Id Parser::postfix() {
  const Depth depth(*this);
  if (terms_.budget.is_over()) return kNone;
  return postfix_of(atom());
}

Id Parser::postfix_of(Id value) {
  while (value != kNone) {
    if (at_sign("!") && at_sign("!", 1)) {
      at_ += 2;
      value = double_factorial(value);
    } else if (at_sign("!")) {
      ++at_;
      value = terms_.call(Function::factorial, std::array{value});
    } else if (take_sign("^") || take_sign("**")) {
      value = exponent_of(value);
    } else if (take_sign("%")) {
      value = terms_.make(Op::percent, 0, std::array{value});
    } else if (take_command("circ") || take_command("degree")) {
      value = terms_.call(Function::degrees, std::array{value});
    } else if (const auto currency = currency_of(peek());
               currency && peek(1).kind != Lexeme::number) {
      ++at_;  // 5 \$
      value = terms_.make(Op::quantity, 0, std::array{value, terms_.integer(1)}, *currency);
    } else {
      break;
    }
  }
  return value;
}

/// n (n - 2) (n - 4) ...
Id Parser::double_factorial(Id value) {
  const auto n = terms_.is(value, Op::number) ? small_integer(terms_.value(value)) : std::nullopt;
  if (!n || *n < 0 || *n > 1'000) return kNone;
  std::vector<Id> factors = {terms_.integer(1)};
  for (std::int64_t k = *n; k > 1; k -= 2) factors.push_back(terms_.integer(k));
  return terms_.product(factors);
}

Id Parser::exponent_of(Id base) {
  const bool braces = at_sign("{");
  const std::size_t ahead = braces ? 1 : 0;
  if (at_command("circ", ahead) || at_command("degree", ahead)) {
    at_ += 1 + ahead;
    if (braces && !take_sign("}")) return kNone;
    if (at(Lexeme::word, "C") || at(Lexeme::word, "F") || at(Lexeme::words, "C") ||
        at(Lexeme::words, "F")) {
      const Text scale = tokens_[at_++].text == "C" ? "celsius^1 " : "fahrenheit^1 ";
      return terms_.make(Op::quantity, 0, std::array{base, terms_.integer(1)}, scale);
    }
    return terms_.call(Function::degrees, std::array{base});
  }
  if (braces && at_sign("'", 1)) return kNone;
  Id exponent = kNone;
  if (take_sign("-")) {
    exponent = terms_.negate(postfix());
  } else if (take_sign("+")) {
    exponent = postfix();
  } else if (peek().kind == Lexeme::number) {
    exponent = literal();
    if (at_sign("^")) exponent = postfix_of(exponent);
    if (at_sign("!")) return kNone;  // x^3! may be (x^3)! or x^(3!)
  } else if (peek().kind == Lexeme::word && peek().text.size() > 1 && !braces) {
    // TeX reads one letter, x^ab is x^a b; and a name is a name: x^pi
    exponent = atom();
  } else {
    exponent = atom();
    if (at_sign("^") || at_sign("!")) exponent = postfix_of(exponent);
  }
  return terms_.power(base, exponent);
}

/// Whether a value can begin here without a sign in between, as in a product.
bool Parser::begins_value() const {
  const Token& token = peek();
  switch (token.kind) {
    case Lexeme::number:
      return true;
    case Lexeme::word:
      return !at_connective() && token.text != "to" && token.text != "mod" &&
             !is_unit_word(token) && !(token.text == "U" && (at_sign("(", 1) || at_sign("[", 1)));
    case Lexeme::words: {
      Function function;
      return find_function(token.text, function);
    }
    case Lexeme::sign:
      return token.text == "(" || (token.text == "[" && !reversed_) || token.text == "{" ||
             (token.text == "|" && bars_ == 0);
    case Lexeme::command: {
      static constexpr auto kNoValue = std::to_array<Text>(
          {"cup",    "cap",   "setminus", "backslash", "}",     "rangle", "rvert",  "rVert",
           "rfloor", "rceil", "\\",       "cdot",      "times", "div",    "pm",     "mp",
           "land",   "lor",   "wedge",    "vee",       "end",   "circ",   "degree", "ast",
           "bmod",   "pmod",  "mod",      "choose",    "over",  "rbrace", "bigcup", "bigcap",
           "ldots",  "dots",  "cdots",    "quad",      "neg"});
      return std::find(kNoValue.begin(), kNoValue.end(), token.text) == kNoValue.end() &&
             !find_relation(token) && !(token.text == "|" && bars_ != 0);
    }
    default:
      return false;
  }
}

}  // namespace r1::math

/// Numbers as they are written: thousands, decimal points and commas, exponents, repeating
/// decimals, mixed numbers, other bases.
#include <algorithm>
#include <array>
#include <optional>

#include "csrc/rewards/math/parser.h"
#include "csrc/rewards/text.h"

namespace r1::math {
namespace {

using Text = std::string_view;

/// A number of d digits costs d^2 to read; longer ones are refused.
constexpr std::size_t kMaxDigits = 4'096;

Integer to_integer(Text digits) {
  Integer value = 0;
  while (!digits.empty()) {
    const std::size_t size = std::min<std::size_t>(digits.size(), 18);
    std::uint64_t chunk = 0, scale = 1;
    for (const char c : digits.substr(0, size)) {
      chunk = chunk * 10 + static_cast<std::uint64_t>(c - '0');
      scale *= 10;
    }
    value = value * scale + chunk;
    digits.remove_prefix(size);
  }
  return value;
}

Integer power_of_ten(std::size_t exponent) {
  return mp::pow(Integer(10), static_cast<unsigned>(exponent));
}

/// Digits with at most one point, exactly.
Rational to_rational(Text digits) {
  const std::size_t point = digits.find('.');
  if (point == Text::npos) return Rational(to_integer(digits));
  const Text fraction = digits.substr(point + 1);
  const Integer whole = to_integer(digits.substr(0, point)), part = to_integer(fraction);
  const Integer scale = power_of_ten(fraction.size());
  return Rational(whole * scale + part) / scale;
}

bool is_digits(Text text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

}  // namespace

Id Parser::literal() {
  std::string digits(tokens_[at_++].text);
  const Token& first = tokens_[at_ - 1];
  if (digits.size() > kMaxDigits) return terms_.budget.end(), kNone;
  if (at_command("overline") || at_command("bar") || at_command("dot")) {
    if (peek().gap == Gap::none && digits.find('.') != digits.npos) return repeating(digits);
  }
  if (at_sign("(") && peek().gap == Gap::none && digits.find('.') != digits.npos &&
      is_digits(peek(1).text) && at_sign(")", 2)) {
    return repeating(digits);
  }
  const bool separated = point_grouped(digits) || grouped(digits);
  if (digits.size() > kMaxDigits) return terms_.budget.end(), kNone;
  const bool point = digits.find('.') != digits.npos;
  if (point && (at_command("ldots") || at_command("dots") || at_command("cdots") ||
                (at_sign(".") && at_sign(".", 1) && at_sign(".", 2)))) {
    at_ += at_sign(".") ? 3 : 1;
    return dotted(digits);
  }
  const auto length = static_cast<std::int64_t>(digits.size());
  if (!terms_.budget.spend(50 + length * length / 64)) return kNone;
  if (digits.ends_with('.')) return kNone;
  const Id value = terms_.number(to_rational(digits), point);
  if (separated) return value;
  if (!point && at_sign("_")) return based(value, digits);
  if (at(Lexeme::word, "e") || at(Lexeme::word, "E"))
    return scientific(value, point || first.text.find('.') != Text::npos);
  return point ? value : mixed(value);
}

/// 1.234.567: with two points or more, they separate thousands.
bool Parser::point_grouped(std::string& digits) {
  const std::size_t point = digits.find('.');
  const auto is_group = [&] {
    return peek().kind == Lexeme::number && peek().gap == Gap::none && peek().text.size() == 4 &&
           peek().text[0] == '.';
  };
  if (point == digits.npos || point == 0 || point > 3 || digits.size() != point + 4 ||
      !is_group()) {
    return false;
  }
  digits.erase(point, 1);
  for (; is_group(); ++at_) digits.append(peek().text.substr(1));
  return true;
}

/// Joins groups of three digits, and a decimal comma, to `digits`; whether there were any.
bool Parser::grouped(std::string& digits) {
  const bool leads = digits.size() <= 3 && digits[0] != '0' && digits.find('.') == digits.npos;
  const std::size_t before = at_;
  for (char separator = 0; leads && digits.find('.') == digits.npos;) {
    const bool braced = at_sign("{") && at_sign(",", 1) && at_sign("}", 2);
    const bool comma = at_sign(",") && peek().gap == Gap::none;
    const std::size_t ahead = braced ? 3 : comma ? 1 : 0;
    const Token& next = peek(ahead);
    const Text whole = next.text.substr(0, next.text.find('.'));
    if (next.kind != Lexeme::number || whole.size() != 3) break;
    const char kind = braced || comma ? ',' : ' ';
    if (separator != 0 && separator != kind) break;
    if (kind == ' ' ? next.gap == Gap::none
                    : next.gap != Gap::none && comma && next.gap != Gap::thin)
      break;
    if (comma) ambiguity_.thousands = true;
    if (comma && reading_.commas != Reading::Commas::thousands) break;
    if (kind == ' ' && (at_sign("/", ahead + 1) || at_command("frac"))) break;  // 2 100/3
    separator = kind;
    digits.append(next.text);
    at_ += ahead + 1;
  }
  if (at_ != before) return true;
  const bool comma = at_sign(",") && peek().gap == Gap::none && peek(1).gap == Gap::none;
  const bool braced = at_sign("{") && at_sign(",", 1) && at_sign("}", 2);
  const Token& next = peek(braced ? 3 : 1);
  if (!(comma || braced) || !is_digits(next.text) || digits.find('.') != digits.npos) return false;
  if (leads && next.text.size() == 3) return false;  // thousands that another reading takes apart
  if (comma) ambiguity_.decimal = true;
  if (comma && reading_.commas != Reading::Commas::decimal) return false;
  digits.append(".").append(next.text);
  at_ += braced ? 4 : 2;
  return true;
}

/// whole.digits + period / (9...9 0...0): 0.1\overline{6}, 0.\dot{3}, 0.(3).
Id Parser::repeating(const std::string& digits) {
  std::string period;
  if (take_sign("(")) {
    period = peek().text;
    at_ += 2;
  } else if (at_command("dot")) {
    // one dot, or one over the first and one over the last digit of the period
    while (take_command("dot")) {
      period += script();
      if (peek().kind == Lexeme::number && at_command("dot", 1)) period += tokens_[at_++].text;
    }
  } else {
    ++at_;
    period = script();
  }
  return periodic(digits, period);
}

Id Parser::periodic(Text digits, Text period) {
  if (!is_digits(period) || period.size() > 200 || digits.size() > 200) return kNone;
  const std::size_t point = digits.find('.');
  const std::size_t places = digits.size() - point - 1;
  const Text plain = digits.ends_with('.') ? digits.substr(0, point) : digits;
  const Integer nines = power_of_ten(period.size()) - 1;
  const Rational tail = Rational(to_integer(period)) / (nines * power_of_ten(places));
  return terms_.number((plain.empty() ? Rational(0) : to_rational(plain)) + tail);
}

/// 0.333... goes on as it began where the last digits stand at least twice, one digit thrice.
Id Parser::dotted(const std::string& digits) {
  const std::size_t point = digits.find('.'), places = digits.size() - point - 1;
  for (std::size_t size = 1; size <= places / 2; ++size) {
    const Text period = Text(digits).substr(digits.size() - size);
    const std::size_t times = size == 1 ? 3 : 2;
    if (places < times * size) continue;
    bool repeats = true;
    for (std::size_t k = 1; k < times; ++k)
      repeats &= digits.compare(digits.size() - (k + 1) * size, size, period) == 0;
    if (!repeats) continue;
    return periodic(Text(digits).substr(0, digits.size() - times * size), period);
  }
  return terms_.number(to_rational(digits), true);
}

/// 1.5e3, 2E-4; "2e+3" without a point is Euler's number.
Id Parser::scientific(Id mantissa, bool point) {
  if (peek().gap != Gap::none) return mantissa;
  const bool capital = peek().text == "E";
  const bool minus = at_sign("-", 1), plus = at_sign("+", 1);
  const Token& exponent = peek(minus || plus ? 2 : 1);
  if (!is_digits(exponent.text) || exponent.gap != Gap::none || peek(1).gap != Gap::none)
    return mantissa;
  if (plus && !capital && !point) return mantissa;
  if (exponent.text.size() > 6) return terms_.budget.end(), kNone;
  const auto value = static_cast<std::int64_t>(to_integer(exponent.text));
  at_ += minus || plus ? 3 : 2;
  const Id scale = terms_.power(terms_.integer(10), terms_.integer(minus ? -value : value));
  return terms_.multiply(mantissa, scale);
}

/// 2\frac12 and "2 1/2" are sums; the fraction must be one of two digits runs, and proper.
Id Parser::mixed(Id whole) {
  const std::size_t before = at_;
  Id top = kNone, bottom = kNone;
  if (at_command("frac") || at_command("dfrac") || at_command("tfrac")) {
    ++at_;
    const Id first = argument();
    if (terms_.is(first, Op::number)) {
      top = first;
      bottom = argument();
    }
  } else if (peek().kind == Lexeme::number && peek().gap != Gap::none && at_sign("/", 1) &&
             peek(2).kind == Lexeme::number && is_digits(peek().text) && is_digits(peek(2).text)) {
    top = terms_.number(Rational(to_integer(peek().text)));
    bottom = terms_.number(Rational(to_integer(peek(2).text)));
    at_ += 3;
  }
  const bool proper = terms_.is(top, Op::number) && terms_.is(bottom, Op::number) &&
                      is_integer(terms_.value(top)) && is_integer(terms_.value(bottom)) &&
                      terms_.value(top) > 0 && terms_.value(top) < terms_.value(bottom);
  if (proper) return terms_.add(whole, terms_.divide(top, bottom));
  at_ = before;
  return whole;
}

/// 1A_{16}, FF_{16}: digits and capitals side by side with a base above ten behind them.
Id Parser::based_with_letters() {
  std::string digits;
  std::size_t ahead = 0;
  bool letters = false;
  for (;; ++ahead) {
    const Token& token = peek(ahead);
    const bool run =
        token.kind == Lexeme::number || token.kind == Lexeme::word || token.kind == Lexeme::words;
    if (!run || (ahead > 0 && token.gap != Gap::none)) break;
    for (const char c : token.text) {
      if (!is_digit(c) && !(c >= 'A' && c <= 'Z')) return kNone;
      letters |= !is_digit(c);
    }
    digits.append(token.text);
  }
  if (!letters || digits.size() > 64 || !at_sign("_", ahead)) return kNone;
  const Token& first = peek(ahead + (at_sign("{", ahead + 1) ? 2 : 1));
  if (!is_digits(first.text) || first.text.size() != 2) return kNone;  // a variable with an index
  at_ += ahead;
  return based(kNone, digits);
}

/// 204_5 has the value it has in base five.
Id Parser::based(Id value, const std::string& digits) {
  static constexpr auto kBases = std::to_array<Text>(
      {"two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"});
  ++at_;
  const std::string text = script();
  std::string subscript;
  for (const char c : text) {
    if (is_digit(c)) subscript.push_back(c);
  }
  const auto* word = std::find(kBases.begin(), kBases.end(), Text(text));
  if (word != kBases.end()) subscript = std::to_string(word - kBases.begin() + 2);
  if (!is_digits(subscript) || subscript.size() > 2) return kNone;
  const auto base = static_cast<unsigned>(to_integer(subscript));
  if (base < 2 || base > 36) return kNone;
  Integer total = 0;
  for (const char c : digits) {
    const auto digit = static_cast<unsigned>(is_digit(c) ? c - '0' : c - 'A' + 10);
    if (digit >= base) return kNone;
    total = total * base + digit;
  }
  return terms_.make(
      Op::based, static_cast<std::uint8_t>(base),
      std::array{terms_.number(Rational(total)), value == kNone ? terms_.text(digits) : value});
}

}  // namespace r1::math

// The comparison of numbers against the same numbers worked out in 128-bit integers. The input is
// two of them with a bar between; without a bar the text is compared with itself.
#include <optional>
#include <string>

#include "csrc/rewards/number.h"
#include "tests/fuzz/require.h"

namespace {

using r1::Decimal, r1::Equality, r1::Number;
__extension__ using Wide = __int128;
constexpr int kMaxDigits = 4;  // keeps every product below 10^38

struct Fraction {
  Wide numerator, denominator;
};

bool is_small(const Decimal& decimal) {
  return decimal.digits <= kMaxDigits && decimal.magnitude <= kMaxDigits &&
         decimal.magnitude - decimal.digits >= -kMaxDigits;
}

/// Multiplies over / under by a decimal.
void multiply(const Decimal& decimal, Wide& over, Wide& under) {
  Wide digits = 0;
  for (const char c : decimal.text) {
    if (c >= '0' && c <= '9') digits = digits * 10 + (c - '0');
  }
  over *= digits;
  const auto exponent = decimal.magnitude - decimal.digits;
  for (auto k = exponent; k > 0; --k) over *= 10;
  for (auto k = exponent; k < 0; ++k) under *= 10;
}

std::optional<Fraction> value(const Number& number) {
  if (!is_small(number.numerator)) return std::nullopt;
  if (number.denominator && !is_small(*number.denominator)) return std::nullopt;
  Fraction fraction{number.negative ? -1 : 1, 1};
  multiply(number.numerator, fraction.numerator, fraction.denominator);
  if (number.denominator) multiply(*number.denominator, fraction.denominator, fraction.numerator);
  return fraction;
}

bool equal(const Number& left, const Number& right, const Fraction& a, const Fraction& b) {
  const Wide here = a.numerator * b.denominator, there = b.numerator * a.denominator;
  if (here == there) return true;
  if (left.percent == right.percent) return false;
  return left.percent ? here == there * 100 : here * 100 == there;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t bar = text.find('|');
  const std::string_view left_text = text.substr(0, bar);
  const std::string_view right_text = bar == text.npos ? text : text.substr(bar + 1);
  const auto left = r1::parse_number(left_text), right = r1::parse_number(right_text);

  const std::string padded = " " + std::string(left_text) + "\n";
  require(r1::parse_number(padded).has_value() == left.has_value(), "blanks do not matter", text);
  if (!left || !right) return 0;
  const Equality equality = compare(*left, *right);
  require(equality == compare(*right, *left), "symmetric", text);
  const auto a = value(*left), b = value(*right);
  if (!a || !b) return 0;
  require((equality == Equality::equal) == equal(*left, *right, *a, *b), "exact", text);
  return 0;
}

#include "csrc/rewards/number.h"

#include <array>

#include "csrc/rewards/text.h"

namespace r1 {
namespace {

using Text = std::string_view;

bool skip(Text& text, Text token) noexcept {
  if (!text.starts_with(token)) return false;
  text.remove_prefix(token.size());
  return true;
}

void skip_spaces(Text& text) noexcept {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
}

/// Consumes digits; returns how many.
std::int64_t skip_digits(Text& text) noexcept {
  const std::size_t before = text.size();
  while (!text.empty() && is_digit(text.front())) text.remove_prefix(1);
  return static_cast<std::int64_t>(before - text.size());
}

/// Consumes one sign; returns whether it is negative, or nothing where there is none.
std::optional<bool> skip_sign(Text& text) noexcept {
  if (skip(text, "-") || skip(text, "\u2212")) return true;
  if (skip(text, "+")) return false;
  return std::nullopt;
}

void skip_currency(Text& text) noexcept {
  for (const Text symbol : {"\\$", "$", "\u20ac", "\u00a3", "\u00a5"}) {
    if (!skip(text, symbol)) continue;
    skip_spaces(text);
    return;
  }
}

/// Consumes the groups of three that may follow one to three leading digits; false where a
/// separator has anything else behind it.
bool skip_thousands(Text& text, std::int64_t& digits) noexcept {
  while (skip(text, ",") || skip(text, "{,}")) {
    if (skip_digits(text) != 3) return false;
    digits += 3;
  }
  return true;
}

/// Cuts the zeros at both ends of a written decimal that has `integer_digits` before the point.
Decimal normalise(Text written, std::int64_t integer_digits) noexcept {
  Decimal decimal;
  std::int64_t index = 0;  // of the digit at hand
  std::int64_t first = 0, last = 0;
  std::size_t begin = 0, end = 0;
  for (std::size_t at = 0; at < written.size(); ++at) {
    if (!is_digit(written[at])) continue;
    if (written[at] != '0') {
      if (end == 0) begin = at, first = index;
      end = at + 1, last = index;
    }
    ++index;
  }
  if (end == 0) return decimal;
  decimal.text = written.substr(begin, end - begin);
  decimal.magnitude = integer_digits - first;
  decimal.digits = last - first + 1;
  return decimal;
}

std::optional<Decimal> read_decimal(Text& text) noexcept {
  const Text begin = text;
  std::int64_t integer_digits = skip_digits(text);
  const bool groups = integer_digits >= 1 && integer_digits <= 3 && begin.front() != '0';
  if (groups && !skip_thousands(text, integer_digits)) return std::nullopt;
  const bool fraction = text.size() > 1 && text[0] == '.' && is_digit(text[1]);
  if (integer_digits == 0 && !fraction) return std::nullopt;
  if (fraction) {
    text.remove_prefix(1);
    skip_digits(text);
  }
  return normalise(begin.substr(0, begin.size() - text.size()), integer_digits);
}

/// A decimal with its own sign, which flips `negative`.
std::optional<Decimal> read_signed(Text& text, bool& negative) noexcept {
  skip_spaces(text);
  const bool minus = skip_sign(text).value_or(false);
  skip_spaces(text);
  const std::optional<Decimal> decimal = read_decimal(text);
  skip_spaces(text);
  negative ^= minus;
  return decimal;
}

/// An argument of \frac: {decimal}, or one bare digit.
std::optional<Decimal> read_argument(Text& text, bool& negative) noexcept {
  skip_spaces(text);
  if (!text.empty() && is_digit(text.front())) {
    Text digit = text.substr(0, 1);
    text.remove_prefix(1);
    return read_decimal(digit);
  }
  if (!skip(text, "{")) return std::nullopt;
  const std::optional<Decimal> decimal = read_signed(text, negative);
  if (!skip(text, "}")) return std::nullopt;
  return decimal;
}

/// The number without sign, currency and percent: a decimal, a/b or \frac{a}{b}.
std::optional<Number> read_magnitude(Text& text) noexcept {
  Number number;
  std::optional<Decimal> numerator;
  if (skip(text, "\\frac") || skip(text, "\\dfrac") || skip(text, "\\tfrac")) {
    numerator = read_argument(text, number.negative);
    number.denominator = read_argument(text, number.negative);
    if (!number.denominator) return std::nullopt;
  } else {
    numerator = read_decimal(text);
    skip_spaces(text);
    if (numerator && skip(text, "/")) {
      number.denominator = read_signed(text, number.negative);
      if (!number.denominator) return std::nullopt;
    }
  }
  if (!numerator) return std::nullopt;
  if (number.denominator && number.denominator->is_zero()) return std::nullopt;
  number.numerator = *numerator;
  return number;
}

/// Takes off the marks that may stand around a number and say nothing about its value.
Text unwrap(Text text) noexcept {
  static constexpr std::array<std::array<Text, 2>, 6> kPairs = {
      {{"$$", "$$"}, {"$", "$"}, {"\\(", "\\)"}, {"\\[", "\\]"}, {"**", "**"}, {"{", "}"}}};
  for (bool again = true; again;) {
    again = false;
    text = trim(text);
    for (const auto& [open, close] : kPairs) {
      if (text.size() < open.size() + close.size()) continue;
      if (!text.starts_with(open) || !text.ends_with(close)) continue;
      text = text.substr(open.size(), text.size() - open.size() - close.size());
      again = true;
      break;
    }
  }
  return text;
}

/// Calls `visit(digit)` for each significant digit, first to last.
template <class Visit>
void for_each_digit(const Decimal& decimal, Visit visit) noexcept {
  for (const char c : decimal.text) {
    if (is_digit(c)) visit(c);
  }
}

bool same_digits(const Decimal& left, const Decimal& right) noexcept {
  if (left.digits != right.digits) return false;
  std::size_t at = 0;
  bool same = true;
  for_each_digit(left, [&](char digit) {
    while (!is_digit(right.text[at])) ++at;
    same &= right.text[at++] == digit;
  });
  return same;
}

/// A natural number below 10^(2 * kMaxFactorDigits), least limb first, base 10^9.
constexpr std::uint64_t kBase = 1'000'000'000;
constexpr int kLimbDigits = 9;
constexpr std::size_t kFactorLimbs = kMaxFactorDigits / kLimbDigits + 1;
struct Natural {
  std::array<std::uint32_t, 2 * kFactorLimbs> limbs{};
  std::size_t size = 0;
};

Natural natural(const Decimal& decimal) noexcept {
  Natural value;
  std::int64_t left = decimal.digits;
  value.size = static_cast<std::size_t>((left + kLimbDigits - 1) / kLimbDigits);
  for_each_digit(decimal, [&](char digit) {
    std::uint32_t& limb = value.limbs[static_cast<std::size_t>(--left / kLimbDigits)];
    limb = limb * 10 + static_cast<std::uint32_t>(digit - '0');
  });
  return value;
}

/// The digits of left * right without the zeros at its end, as a decimal view of `buffer`.
using Buffer = std::array<char, 2 * kFactorLimbs * kLimbDigits>;
Decimal multiply(const Decimal& left, const Decimal& right, Buffer& buffer) noexcept {
  if (left.is_zero() || right.is_zero()) return {};
  const Natural a = natural(left), b = natural(right);
  Natural product;
  product.size = a.size + b.size;
  for (std::size_t i = 0; i < a.size; ++i) {
    std::uint64_t carry = 0;
    for (std::size_t j = 0; j < b.size || carry != 0; ++j) {
      const std::uint64_t term = j < b.size ? std::uint64_t{a.limbs[i]} * b.limbs[j] : 0;
      const std::uint64_t sum = product.limbs[i + j] + term + carry;  // < 2^64: term < 10^18
      product.limbs[i + j] = static_cast<std::uint32_t>(sum % kBase);
      carry = sum / kBase;
    }
  }
  std::size_t at = product.size * kLimbDigits;
  for (std::size_t i = 0; i < product.size; ++i) {
    std::uint32_t limb = product.limbs[i];
    for (int k = 0; k < kLimbDigits; ++k, limb /= 10) {
      buffer[--at] = static_cast<char>('0' + limb % 10);
    }
  }
  // A product's last digit stands where the factors' last digits put it.
  const std::int64_t written = static_cast<std::int64_t>(product.size) * kLimbDigits;
  const std::int64_t exponent = (left.magnitude - left.digits) + (right.magnitude - right.digits);
  return normalise({buffer.data(), static_cast<std::size_t>(written)}, written + exponent);
}

/// left * 10^shift == right, for unsigned decimals.
bool equal(const Decimal& left, const Decimal& right, int shift) noexcept {
  if (left.is_zero() || right.is_zero()) return left.is_zero() && right.is_zero();
  return left.magnitude + shift == right.magnitude && same_digits(left, right);
}

/// left * 10^shift == right, exactly.
Equality compare_shifted(const Number& left, const Number& right, int shift) noexcept {
  const bool zero = left.numerator.is_zero();
  if (zero != right.numerator.is_zero()) return Equality::different;
  if (zero) return Equality::equal;  // -0 is 0
  if (left.negative != right.negative) return Equality::different;

  if (!left.denominator && !right.denominator) {
    return equal(left.numerator, right.numerator, shift) ? Equality::equal : Equality::different;
  }
  static constexpr Decimal kOne{"1", 1, 1};
  const Decimal& left_denominator = left.denominator ? *left.denominator : kOne;
  const Decimal& right_denominator = right.denominator ? *right.denominator : kOne;
  for (const Decimal* factor :
       {&left.numerator, &right_denominator, &right.numerator, &left_denominator}) {
    if (factor->digits > kMaxFactorDigits) return Equality::over_limit;
  }
  Buffer left_buffer, right_buffer;
  const Decimal crossed_left = multiply(left.numerator, right_denominator, left_buffer);
  const Decimal crossed_right = multiply(right.numerator, left_denominator, right_buffer);
  return equal(crossed_left, crossed_right, shift) ? Equality::equal : Equality::different;
}

}  // namespace

std::optional<Number> parse_number(std::string_view text) noexcept {
  text = unwrap(text);
  if (text.ends_with('.')) text = unwrap(text.substr(0, text.size() - 1));

  std::optional<bool> sign = skip_sign(text);
  skip_spaces(text);
  skip_currency(text);
  if (!sign) sign = skip_sign(text);
  skip_spaces(text);

  std::optional<Number> number = read_magnitude(text);
  if (!number) return std::nullopt;
  number->negative ^= sign.value_or(false);
  skip_spaces(text);
  number->percent = skip(text, "\\%") || skip(text, "%");
  skip_spaces(text);
  return text.empty() ? number : std::nullopt;
}

Equality compare(const Number& left, const Number& right) noexcept {
  const Equality as_written = compare_shifted(left, right, 0);
  if (as_written != Equality::different || left.percent == right.percent) return as_written;
  return compare_shifted(left, right, left.percent ? -2 : 2);
}

}  // namespace r1

#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace r1 {

/// An unsigned decimal of any length, as a view of its digits: 0.d1 d2 ... dn times 10^magnitude.
/// The text runs from the first non-zero digit to the last; it may still hold thousands separators
/// and the point, which readers skip.
struct Decimal {
  std::string_view text;       // empty for zero
  std::int64_t magnitude = 0;  // digits before the point, counted from the first non-zero one
  std::int64_t digits = 0;     // significant digits in `text`
  bool is_zero() const noexcept { return text.empty(); }
};

/// An exact rational as it was written: (-1)^negative * numerator / denominator, divided by 100
/// again where a percent sign follows. It refers to the text it was parsed from.
struct Number {
  Decimal numerator;
  std::optional<Decimal> denominator;  // not zero
  bool negative = false;
  bool percent = false;
};

/// Reads a number that fills the whole text, blanks aside:
///
///     7   -3.50   .5   1,234,567.8   1{,}234   3/4   \frac{-1}{2}   \dfrac12   $12   \$1,200   45%
///
/// A sign is + - or U+2212; a currency is $ \$ euro, pound or yen and may follow or precede the
/// sign; one full stop may end the text; $...$, $$...$$, \(...\), \[...\], {...} and **...** may
/// wrap it. Thousands come in whole groups of three: "1,23" is no number.
///
/// Linear in the text, allocates nothing, no limit on the number of digits.
/// @return nothing for any other text, and for a zero denominator
std::optional<Number> parse_number(std::string_view text) noexcept;

/// What a comparison can say.
enum class Equality : std::uint8_t { equal, different, over_limit };

/// Compares two numbers exactly; symmetric. Decimals of any length take one pass. Fractions are
/// multiplied out, which is limited to `kMaxFactorDigits` digits a factor; beyond it the answer is
/// over_limit.
///
/// A percent sign on one side only is read both ways, as 1/100 and as a unit: 45% equals 0.45, and
/// equals 45, because data sets write the answer of "what percent" either way.
Equality compare(const Number& left, const Number& right) noexcept;

inline constexpr int kMaxFactorDigits = 2048;

}  // namespace r1

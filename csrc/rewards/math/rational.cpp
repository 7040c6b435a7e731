#include "csrc/rewards/math/rational.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace r1::math {
namespace {

/// The cost of a product and of the greatest common divisor that reduces it.
bool pay(const Rational& a, const Rational& b, Budget& budget) {
  const auto limbs = static_cast<std::int64_t>(bits(a) / 64 + 1 + bits(b) / 64 + 1);
  return budget.spend(4 + limbs * limbs * (limbs > 4 ? 16 : 1));
}

std::optional<Rational> checked(Rational value) {
  if (bits(value) > kMaxBits) return std::nullopt;
  return value;
}

std::optional<Integer> integer_root(const Integer& value, std::int64_t degree, Budget& budget) {
  if (value <= 1) return value;
  const auto length = static_cast<std::int64_t>(bits(value));
  if (degree > length) return std::nullopt;  // between 1 and 2
  if (!budget.spend((length / 64 + 1) * length)) return std::nullopt;
  Integer low = 1, high = Integer(1) << static_cast<std::size_t>(length / degree + 1);
  while (low < high) {
    const Integer middle = (low + high + 1) / 2;
    if (!budget.spend(length)) return std::nullopt;
    mp::pow(middle, static_cast<unsigned>(degree)) <= value ? low = middle : high = middle - 1;
  }
  if (mp::pow(low, static_cast<unsigned>(degree)) != value) return std::nullopt;
  return low;
}

}  // namespace

std::size_t bits(const Rational& value) {
  return std::max(bits(Integer(mp::numerator(value))), bits(Integer(mp::denominator(value))));
}

std::optional<std::int64_t> small_integer(const Rational& value) {
  if (!is_integer(value) || bits(value) > 62) return std::nullopt;
  return static_cast<std::int64_t>(Integer(mp::numerator(value)));
}

std::optional<Rational> add(const Rational& a, const Rational& b, Budget& budget) {
  if (!pay(a, b, budget)) return std::nullopt;
  return checked(a + b);
}

std::optional<Rational> multiply(const Rational& a, const Rational& b, Budget& budget) {
  if (bits(a) + bits(b) > 2 * kMaxBits || !pay(a, b, budget)) return std::nullopt;
  return checked(a * b);
}

std::optional<Rational> divide(const Rational& a, const Rational& b, Budget& budget) {
  if (b.is_zero() || !pay(a, b, budget)) return std::nullopt;
  return checked(a / b);
}

std::optional<Rational> power(const Rational& base, std::int64_t exponent, Budget& budget) {
  if (exponent == 0) return Rational(1);  // 0^0 is 1, as in polynomials and in sympy
  if (base.is_zero()) return exponent > 0 ? std::optional(base) : std::nullopt;
  const auto times = static_cast<std::uint64_t>(std::abs(exponent));
  Integer top(mp::numerator(base)), bottom(mp::denominator(base));
  const bool unit = bottom == 1 && (top == 1 || top == -1);
  if (!unit) {
    const double length = static_cast<double>(bits(base) - 1) * static_cast<double>(times);
    if (length > static_cast<double>(kMaxBits)) return std::nullopt;
    const auto limbs = static_cast<std::int64_t>(length / 64 + 1);
    if (!budget.spend(10 + 3 * limbs * limbs)) return std::nullopt;
  }
  const auto small = static_cast<unsigned>(unit ? times % 2 : times);
  top = mp::pow(top, small);
  bottom = mp::pow(bottom, small);
  if (exponent < 0) std::swap(top, bottom);
  return checked(Rational(top) / bottom);
}

std::optional<Rational> factorial(std::int64_t n, Budget& budget) {
  if (n < 0 || n > 4'000) return std::nullopt;
  Integer product = 1;
  for (std::int64_t k = 2; k <= n; ++k) {
    if (!budget.spend(2 + static_cast<std::int64_t>(bits(product) / 64))) return std::nullopt;
    product *= k;
  }
  return checked(Rational(product));
}

std::optional<Rational> binomial(const Rational& n, std::int64_t k, Budget& budget) {
  if (k < 0) return Rational(0);
  if (is_integer(n) && n >= 0) {
    if (n < k) return Rational(0);
    if (const auto small = small_integer(n)) k = std::min(k, *small - k);
  }
  if (k > 4'000) return std::nullopt;
  std::optional<Rational> result = Rational(1);
  for (std::int64_t j = 0; j < k && result; ++j) {
    result = multiply(*result, (n - j) / (j + 1), budget);
  }
  return result;
}

std::optional<Rational> exact_root(const Rational& base, std::int64_t degree, Budget& budget) {
  if (degree < 1 || degree > 10'000) return std::nullopt;
  const bool negative = base < 0;
  if (negative && degree % 2 == 0) return std::nullopt;
  const auto top = integer_root(abs(Integer(mp::numerator(base))), degree, budget);
  if (!top) return std::nullopt;
  const auto bottom = integer_root(Integer(mp::denominator(base)), degree, budget);
  if (!bottom) return std::nullopt;
  const Rational root = Rational(*top) / *bottom;
  return negative ? Rational(-root) : root;
}

Integer floor(const Rational& value) {
  const Integer top(mp::numerator(value)), bottom(mp::denominator(value));
  Integer quotient = top / bottom;  // towards zero
  if (top < 0 && quotient * bottom != top) --quotient;
  return quotient;
}

}  // namespace r1::math

#pragma once
#include <boost/multiprecision/cpp_int.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace r1::math {

namespace mp = boost::multiprecision;
// Expression templates off: values, not views of operands that have gone.
using Integer = mp::number<mp::cpp_int_backend<>, mp::et_off>;
using Rational = mp::number<mp::rational_adaptor<mp::cpp_int_backend<>>, mp::et_off>;

/// An exact integer has at most so many bits (2006! has 19,100); beyond, a power stays a power.
inline constexpr std::size_t kMaxBits = 32'768;

/// What one question may cost, in steps of about a nanosecond: the end of all work, and the same on
/// every machine, which a clock is not.
class Budget {
 public:
  static constexpr std::int64_t kSteps = 20'000'000;

  void reset() noexcept { left_ = kSteps; }
  /// Takes `steps`; false, from then on, where none are left.
  bool spend(std::int64_t steps) noexcept {
    if (left_ >= 0) left_ -= steps;
    return left_ >= 0;
  }
  bool is_over() const noexcept { return left_ < 0; }
  void end() noexcept { left_ = -1; }

 private:
  std::int64_t left_ = kSteps;
};

inline std::size_t bits(const Integer& value) {
  return value.is_zero() ? 1 : mp::msb(abs(value)) + 1;
}
std::size_t bits(const Rational& value);

inline bool is_integer(const Rational& value) { return mp::denominator(value) == 1; }
/// The value as an integer of at most 62 bits; nothing for any other.
std::optional<std::int64_t> small_integer(const Rational& value);

// Exact arithmetic; nothing where the result is undefined, too long or the budget is spent.
std::optional<Rational> add(const Rational& a, const Rational& b, Budget& budget);
std::optional<Rational> multiply(const Rational& a, const Rational& b, Budget& budget);
std::optional<Rational> divide(const Rational& a, const Rational& b, Budget& budget);
std::optional<Rational> power(const Rational& base, std::int64_t exponent, Budget& budget);
std::optional<Rational> factorial(std::int64_t n, Budget& budget);
std::optional<Rational> binomial(const Rational& n, std::int64_t k, Budget& budget);
/// base^(1/degree), where that is rational; a negative base has one for odd degrees.
std::optional<Rational> exact_root(const Rational& base, std::int64_t degree, Budget& budget);
Integer floor(const Rational& value);

}  // namespace r1::math

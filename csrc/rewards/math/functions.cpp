/// What functions of numbers are worth, as far as that is exact; and square roots in lowest terms.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "csrc/rewards/math/terms.h"

namespace r1::math {

/// The square root of a positive rational that has no rational one.
bool Terms::is_square_root(Id id) const {
  if (!is(id, Op::call) || function(id) != Function::root) return false;
  const Id radicand = child(id, 0), degree = child(id, 1);
  return is(radicand, Op::number) && !(*this)[radicand].inexact && value(radicand) > 0 &&
         is(degree, Op::number) && value(degree) == 2;
}

/// sqrt(12) as 2 sqrt(3), sqrt(1/2) as sqrt(2) / 2: one term for one number. Large ones stay.
Id Terms::square_root(const Rational& radicand) {
  static constexpr std::int64_t kLargest = 100'000'000;
  const auto top = small_integer(Rational(mp::numerator(radicand)));
  const auto bottom = small_integer(Rational(mp::denominator(radicand)));
  if (!top || !bottom || *top <= 0 || *top > kLargest / *bottom) return kNone;
  if (!budget.spend(2'000)) return kNone;
  std::int64_t rest = *top * *bottom, factor = 1, free = 1;
  for (std::int64_t p = 2; p * p * p <= rest; ++p) {
    for (; rest % (p * p) == 0; rest /= p * p) factor *= p;
    for (; rest % p == 0; rest /= p) free *= p;
  }
  // What is left has at most two primes.
  const auto root = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(rest))));
  root* root == rest ? factor *= root : free *= rest;
  if (factor == 1 && *bottom == 1) return kNone;
  const Id plain = make(Op::call, static_cast<std::uint8_t>(Function::root),
                        std::array{integer(free), integer(2)});
  return multiply(number(Rational(factor) / *bottom), plain);
}

/// sqrt(2) * x * sqrt(3) as sqrt(6) * x.
Id Terms::product_of_roots(std::span<const Id> factors, Id coefficient) {
  std::vector<Id> others = {coefficient}, radicands;
  for (const Id factor : factors) {
    is_square_root(factor) ? radicands.push_back(child(factor, 0)) : others.push_back(factor);
  }
  others.push_back(call(Function::root, std::array{product(radicands), integer(2)}));
  return product(others);
}

/// The value of a function of numbers, where that is rational and no matter of rounding.
Id Terms::fold_call(Function function, std::span<const Id> arguments) {
  for (const Id argument : arguments) {
    if (!is(argument, Op::number)) return kNone;
  }
  if (arguments.empty()) return kNone;
  const Rational a = value(arguments[0]);
  const bool inexact = (*this)[arguments[0]].inexact;
  const auto fold = [&](const std::optional<Rational>& result) {
    return result ? number(*result, inexact) : kNone;
  };
  const auto extreme = [&](bool largest) {
    Rational best = a;
    for (const Id argument : arguments) {
      if (largest ? value(argument) > best : value(argument) < best) best = value(argument);
    }
    return number(best, inexact);
  };
  switch (function) {
    case Function::abs:
      return number(abs(a), inexact);
    case Function::floor:
      return number(Rational(floor(a)));
    case Function::ceil:
      return number(Rational(-floor(Rational(-a))));
    case Function::sign:
      return integer(a < 0 ? -1 : a > 0);
    case Function::max:
      return extreme(true);
    case Function::min:
      return extreme(false);
    case Function::real:
    case Function::conjugate:
      return arguments[0];
    case Function::imag:
      return integer(0);
    case Function::factorial: {
      const auto n = small_integer(a);
      return n ? fold(factorial(*n, budget)) : kNone;
    }
    case Function::binomial: {
      const auto k = arguments.size() == 2 ? small_integer(value(arguments[1])) : std::nullopt;
      return k ? fold(binomial(a, *k, budget)) : kNone;
    }
    case Function::root: {
      const auto degree = small_integer(value(arguments[1]));
      const Id exact = degree ? fold(exact_root(a, *degree, budget)) : kNone;
      return exact == kNone && degree == 2 && !inexact ? square_root(a) : exact;
    }
    default:
      break;
  }
  if (arguments.size() < 2 || !is_integer(a)) return kNone;
  if (function == Function::mod && arguments.size() == 2) {
    const Rational b = value(arguments[1]);
    if (b.is_zero()) return kNone;
    const auto quotient = math::divide(a, b, budget);
    return quotient ? number(a - b * Rational(floor(*quotient))) : kNone;
  }
  if (function != Function::gcd && function != Function::lcm) return kNone;
  Integer total(mp::numerator(a));
  for (const Id argument : arguments.subspan(1)) {
    const Rational b = value(argument);
    const auto length = static_cast<std::int64_t>(bits(total) + bits(b));
    if (!is_integer(b) || !budget.spend(length * (length / 64 + 1))) return kNone;
    const Integer other(mp::numerator(b));
    total = function == Function::gcd ? Integer(gcd(total, other)) : Integer(lcm(total, other));
    if (bits(total) > kMaxBits) return kNone;
  }
  return number(Rational(total));
}

Id Terms::call(Function function, std::span<const Id> arguments, std::string_view name) {
  const std::vector<Id> copy(arguments.begin(), arguments.end());
  for (const Id argument : copy) {
    if (argument == kNone) return kNone;
  }
  if (const Id folded = fold_call(function, copy); folded != kNone) return folded;
  if (function == Function::exp) return power(constant(Constant::e), copy[0]);
  return make(Op::call, static_cast<std::uint8_t>(function), copy, name);
}

}  // namespace r1::math

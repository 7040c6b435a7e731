#pragma once
#include <boost/multiprecision/cpp_bin_float.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace r1::math {

template <unsigned Bits>
using Float = boost::multiprecision::number<
    boost::multiprecision::cpp_bin_float<Bits, boost::multiprecision::digit_base_2>,
    boost::multiprecision::et_off>;

/// How a value was found: certain to lie in its ball; not defined there; or lost in rounding, which
/// a higher precision may mend.
enum class State : std::uint8_t { fine, undefined, imprecise };

/// A real number known to lie within `rad` of `mid`. Every operation rounds outwards.
template <class Real>
struct Ball {
  Real mid = 0, rad = 0;
  State state = State::fine;

  /// What one operation may be off by, relative to its result: a few units in the last place.
  static Real epsilon() {
    using std::ldexp;
    return ldexp(Real(1), 5 - std::numeric_limits<Real>::digits);
  }
  static Ball none(State why) { return {0, 0, why}; }
  /// A computed value with the error of its arguments; adds that of rounding.
  static Ball rounded(const Real& mid, const Real& rad) {
    using std::abs;
    using std::isfinite;
    const Real bound = rad * (1 + epsilon()) + abs(mid) * epsilon();
    if (!isfinite(mid) || !isfinite(bound)) return none(State::imprecise);
    return {mid, bound, State::fine};
  }

  bool fine() const { return state == State::fine; }
  bool is_zero() const { return mid == 0 && rad == 0; }
  bool has_zero() const {
    using std::abs;
    return abs(mid) <= rad;
  }
  Real low() const { return mid - rad; }
  Real high() const { return mid + rad; }
};

template <class Real>
State worse(const Ball<Real>& a, const Ball<Real>& b) {
  return a.fine() ? b.state : a.state;
}

template <class Real>
Ball<Real> operator-(Ball<Real> a) {
  a.mid = -a.mid;
  return a;
}

template <class Real>
Ball<Real> operator+(const Ball<Real>& a, const Ball<Real>& b) {
  if (!a.fine() || !b.fine()) return Ball<Real>::none(worse(a, b));
  if (a.is_zero()) return b;
  if (b.is_zero()) return a;
  return Ball<Real>::rounded(a.mid + b.mid, a.rad + b.rad);
}

template <class Real>
Ball<Real> operator-(const Ball<Real>& a, const Ball<Real>& b) {
  return a + -b;
}

template <class Real>
Ball<Real> operator*(const Ball<Real>& a, const Ball<Real>& b) {
  using std::abs;
  if (!a.fine() || !b.fine()) return Ball<Real>::none(worse(a, b));
  if (a.is_zero() || b.is_zero()) return {};
  return Ball<Real>::rounded(a.mid * b.mid,
                             abs(a.mid) * b.rad + abs(b.mid) * a.rad + a.rad * b.rad);
}

template <class Real>
Ball<Real> operator/(const Ball<Real>& a, const Ball<Real>& b) {
  using std::abs;
  if (!a.fine() || !b.fine()) return Ball<Real>::none(worse(a, b));
  if (b.is_zero()) return Ball<Real>::none(State::undefined);
  if (b.has_zero()) return Ball<Real>::none(State::imprecise);
  const Real quotient = a.mid / b.mid;
  return Ball<Real>::rounded(quotient, (a.rad + abs(quotient) * b.rad) / (abs(b.mid) - b.rad));
}

/// sqrt(a) of a >= 0.
template <class Real>
Ball<Real> root(const Ball<Real>& a) {
  using std::sqrt;
  if (!a.fine() || a.is_zero()) return a;
  if (a.high() < 0) return Ball<Real>::none(State::undefined);
  if (a.low() <= 0) return {0, sqrt(a.high()) * 2, State::fine};
  const Real value = sqrt(a.mid);
  return Ball<Real>::rounded(value, a.rad / sqrt(a.low()));
}

template <class Real>
Ball<Real> exp(const Ball<Real>& a) {
  using std::abs;
  using std::exp;
  if (!a.fine()) return a;
  if (a.rad > Real(0.5) || abs(a.mid) > Real(1e6)) return Ball<Real>::none(State::imprecise);
  const Real value = exp(a.mid);
  // Reducing the argument costs the result as many bits as the argument is long.
  return Ball<Real>::rounded(value, value * (2 * a.rad + (1 + abs(a.mid)) * Ball<Real>::epsilon()));
}

template <class Real>
Ball<Real> log(const Ball<Real>& a) {
  using std::log;
  if (!a.fine()) return a;
  if (a.high() < 0 || a.is_zero()) return Ball<Real>::none(State::undefined);
  if (a.low() <= 0) return Ball<Real>::none(State::imprecise);
  return Ball<Real>::rounded(log(a.mid), a.rad / a.low() + Ball<Real>::epsilon());
}

/// sin, cos, atan and others whose slope is at most 1.
template <class Real, class F>
Ball<Real> gentle(const Ball<Real>& a, F f) {
  using std::abs;
  if (!a.fine()) return a;
  if (abs(a.mid) > Real(1e12))
    return Ball<Real>::none(State::imprecise);  // an angle without a turn
  return Ball<Real>::rounded(f(a.mid), a.rad + (1 + abs(a.mid)) * Ball<Real>::epsilon());
}
template <class Real>
Ball<Real> sin(const Ball<Real>& a) {
  return gentle(a, [](const Real& x) {
    using std::sin;
    return Real(sin(x));
  });
}
template <class Real>
Ball<Real> cos(const Ball<Real>& a) {
  return gentle(a, [](const Real& x) {
    using std::cos;
    return Real(cos(x));
  });
}
template <class Real>
Ball<Real> atan(const Ball<Real>& a) {
  return gentle(a, [](const Real& x) {
    using std::atan;
    return Real(atan(x));
  });
}

template <class Real>
const Ball<Real>& pi() {
  using std::atan;
  static const Ball<Real> value = Ball<Real>::rounded(4 * atan(Real(1)), 0);
  return value;
}

}  // namespace r1::math

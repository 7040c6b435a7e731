#pragma once
#include <algorithm>

#include "csrc/rewards/math/ball.h"

namespace r1::math {

/// A complex number in a box of two balls; `real` where the imaginary part is zero for certain.
template <class Real>
struct Value {
  Ball<Real> re, im;
  bool real = true;

  State state() const { return worse(re, im); }
  bool fine() const { return re.fine() && im.fine(); }
  bool is_zero() const { return re.is_zero() && im.is_zero(); }
  bool has_zero() const { return re.has_zero() && im.has_zero(); }
  static Value none(State why) { return {Ball<Real>::none(why), {}, true}; }
};

template <class Real>
Value<Real> real(const Ball<Real>& x) {
  return {x, {}, true};
}

template <class Real>
Value<Real> operator+(const Value<Real>& a, const Value<Real>& b) {
  return {a.re + b.re, a.im + b.im, a.real && b.real};
}

template <class Real>
Value<Real> operator*(const Value<Real>& a, const Value<Real>& b) {
  if (a.real && b.real) return real(a.re * b.re);
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re, false};
}

template <class Real>
Value<Real> operator/(const Value<Real>& a, const Value<Real>& b) {
  if (b.real) return {a.re / b.re, a.real ? Ball<Real>{} : a.im / b.re, a.real};
  const Ball<Real> square = b.re * b.re + b.im * b.im;
  const Value<Real> top = a * Value<Real>{b.re, -b.im, false};
  return {top.re / square, top.im / square, false};
}

template <class Real>
Ball<Real> magnitude(const Value<Real>& z) {
  if (!z.real) return root(z.re * z.re + z.im * z.im);
  if (!z.re.fine() || z.re.low() >= 0) return z.re;
  if (z.re.high() <= 0) return -z.re;
  return {0, std::max(Real(-z.re.low()), z.re.high()), State::fine};
}

/// The angle of a number off the negative axis, or on it for certain.
template <class Real>
Ball<Real> angle(const Value<Real>& z) {
  if (!z.fine()) return Ball<Real>::none(z.state());
  if (z.real || z.im.is_zero()) {
    if (z.re.low() > 0) return {};
    return z.re.high() < 0 ? pi<Real>()
                           : Ball<Real>::none(z.re.is_zero() ? State::undefined : State::imprecise);
  }
  const Ball<Real> half = pi<Real>() * Ball<Real>{Real(0.5), 0};
  if (z.re.low() > 0) return atan(z.im / z.re);
  if (z.im.low() > 0) return half - atan(z.re / z.im);
  if (z.im.high() < 0) return -half - atan(z.re / z.im);
  return Ball<Real>::none(State::imprecise);
}

template <class Real>
Value<Real> log(const Value<Real>& z) {
  if (z.real && z.re.fine() && z.re.low() > 0) return real(log(z.re));
  if (z.fine() && z.is_zero()) return Value<Real>::none(State::undefined);
  return {log(magnitude(z)), angle(z), false};
}

template <class Real>
Value<Real> exp(const Value<Real>& z) {
  if (z.real) return real(exp(z.re));
  const Ball<Real> size = exp(z.re);
  return {size * cos(z.im), size * sin(z.im), false};
}

template <class Real>
Value<Real> square_root(const Value<Real>& z) {
  if (z.real) {
    if (!z.re.fine() || z.re.low() >= 0) return real(root(z.re));
    if (z.re.high() < 0) return {{}, root(-z.re), false};
    return Value<Real>::none(State::imprecise);
  }
  const Value<Real> half = log(z);
  const Ball<Real> by{Real(0.5), 0};
  return exp(Value<Real>{half.re * by, half.im * by, false});
}

/// (e^x + e^-x) / 2, or the difference.
template <class Real>
Ball<Real> hyperbolic(const Ball<Real>& x, bool sine) {
  const Ball<Real> up = exp(x), down = exp(-x), half{Real(0.5), 0};
  return (sine ? up - down : up + down) * half;
}

template <class Real>
Value<Real> sin(const Value<Real>& z) {
  if (z.real) return real(sin(z.re));
  return {sin(z.re) * hyperbolic(z.im, false), cos(z.re) * hyperbolic(z.im, true), false};
}

template <class Real>
Value<Real> cos(const Value<Real>& z) {
  if (z.real) return real(cos(z.re));
  return {cos(z.re) * hyperbolic(z.im, false), -(sin(z.re) * hyperbolic(z.im, true)), false};
}

}  // namespace r1::math

#include "csrc/rewards/math/evaluate.h"

#include <algorithm>
#include <optional>

namespace r1::math {
namespace {

/// What one operation costs, in the budget's steps: measured, roughly.
template <class Real>
constexpr std::int64_t kCheap = std::is_same_v<Real, double>       ? 10
                                : std::is_same_v<Real, Float<256>> ? 400
                                                                   : 6'000;
template <class Real>
constexpr std::int64_t kDear = std::is_same_v<Real, double>       ? 40
                               : std::is_same_v<Real, Float<256>> ? 10'000
                                                                  : 250'000;

}  // namespace

template <class Real>
Value<Real> Evaluator<Real>::at(Id id) {
  if (id == kNone) return Box::none(State::undefined);
  const auto index = static_cast<std::size_t>(id);
  if (index >= known_.size()) known_.resize(index + 32);
  if (!known_[index].done) {
    Box value = evaluate(id);  // may move known_
    known_[index] = {true, value};
    return value;
  }
  return known_[index].value;
}

template <class Real>
Value<Real> Evaluator<Real>::number(const Rational& value) {
  const Integer top(mp::numerator(value)), bottom(mp::denominator(value));
  const Real a(top), b(bottom);
  const bool exact =
      bottom == 1 && bits(top) <= static_cast<std::size_t>(std::numeric_limits<Real>::digits);
  return real(exact ? Ball<Real>{a, 0, State::fine} : Ball<Real>::rounded(a / b, 0));
}

template <class Real>
Value<Real> Evaluator<Real>::evaluate(Id id) {
  const Op op = terms_[id].op;
  if (!terms_.budget.spend(kCheap<Real>)) return Box::none(State::imprecise);
  switch (op) {
    case Op::number:
      return number(terms_.value(id));
    case Op::symbol: {
      const auto found = std::find(point_.symbols.begin(), point_.symbols.end(), id);
      if (found == point_.symbols.end()) return Box::none(State::undefined);
      return number(point_.values[static_cast<std::size_t>(found - point_.symbols.begin())]);
    }
    case Op::constant:
      switch (static_cast<Constant>(terms_[id].tag)) {
        case Constant::pi:
          return real(pi<Real>());
        case Constant::e:
          return real(exp(Ball<Real>{1, 0}));
        case Constant::i:
          return {{}, {1, 0}, false};
        default:
          return Box::none(State::undefined);
      }
    case Op::sum:
    case Op::product: {
      Box total = real(Ball<Real>{op == Op::sum ? Real(0) : Real(1), 0});
      const std::vector<Id> children(terms_.children(id).begin(), terms_.children(id).end());
      for (const Id child : children) total = op == Op::sum ? total + at(child) : total * at(child);
      return total;
    }
    case Op::power:
      return power(terms_.child(id, 0), terms_.child(id, 1));
    case Op::percent:
      return at(terms_.child(id, 0)) / real(Ball<Real>{100, 0});
    case Op::based:
    case Op::quantity:
      return at(terms_.child(id, 0));
    case Op::ratio:
      if (terms_[id].count == 2) return at(terms_.child(id, 0)) / at(terms_.child(id, 1));
      return Box::none(State::undefined);
    case Op::call:
      return call(id);
    default:
      return Box::none(State::undefined);
  }
}

template <class Real>
Value<Real> Evaluator<Real>::whole_power(Box base, std::int64_t exponent) {
  Box result = real(Ball<Real>{1, 0});
  for (std::uint64_t left = static_cast<std::uint64_t>(std::abs(exponent)); left != 0; left >>= 1) {
    if (left & 1) result = result * base;
    if (left > 1) base = base * base;
  }
  return exponent < 0 ? real(Ball<Real>{1, 0}) / result : result;
}

template <class Real>
Value<Real> Evaluator<Real>::power(Id base_id, Id exponent_id) {
  const Box base = at(base_id), exponent = at(exponent_id);
  if (!base.fine() || !exponent.fine())
    return Box::none(base.fine() ? exponent.state() : base.state());
  if (terms_.is(exponent_id, Op::number)) {
    const Rational e = terms_.value(exponent_id);
    if (const auto whole = small_integer(e); whole && std::abs(*whole) <= 1'000'000)
      return whole_power(base, *whole);
    if (e == Rational(1) / 2) return square_root(base);
    const Integer degree(mp::denominator(e)), times(mp::numerator(e));
    const bool odd = degree % 2 == 1 && degree > 1;
    if (base.real && odd && base.re.high() < 0) {  // the real root of a negative number
      terms_.budget.spend(kDear<Real>);
      const Box size = exp(real(log(-base.re)) * exponent);
      return times % 2 == 0 ? size : real(-size.re);
    }
  }
  if (base.is_zero()) {
    return exponent.real && exponent.re.low() > 0 ? real(Ball<Real>{})
                                                  : Box::none(State::undefined);
  }
  terms_.budget.spend(2 * kDear<Real>);
  return exp(log(base) * exponent);
}

template <class Real>
Value<Real> Evaluator<Real>::call(Id id) {
  const Function function = terms_.function(id);
  if (terms_[id].count == 0) return Box::none(State::undefined);
  const Box x = at(terms_.child(id, 0));
  if (!x.fine()) return x;
  if (!terms_.budget.spend(kDear<Real>)) return Box::none(State::imprecise);
  const Box one = real(Ball<Real>{1, 0});
  switch (function) {
    case Function::sin:
      return sin(x);
    case Function::cos:
      return cos(x);
    case Function::tan:
      return sin(x) / cos(x);
    case Function::cot:
      return cos(x) / sin(x);
    case Function::sec:
      return one / cos(x);
    case Function::csc:
      return one / sin(x);
    case Function::ln:
      return log(x);
    case Function::log: {
      if (!decimal_logs_) return log(x);
      return log(x) / real(log(Ball<Real>{10, 0}));
    }
    case Function::root: {
      const Id degree = terms_.child(id, 1);
      if (!terms_.is(degree, Op::number) || terms_.value(degree).is_zero()) {
        return log(x).fine() ? exp(log(x) / at(degree)) : log(x);
      }
      if (terms_.value(degree) == 2) return square_root(x);
      return power(terms_.child(id, 0), terms_.number(Rational(1) / terms_.value(degree)));
    }
    case Function::abs:
      return real(magnitude(x));
    case Function::real:
      return real(x.re);
    case Function::imag:
      return real(x.im);
    case Function::conjugate:
      return {x.re, -x.im, x.real};
    case Function::arg:
      return real(angle(x));
    case Function::degrees:
      return x * real(pi<Real>() / Ball<Real>{180, 0});
    case Function::max:
    case Function::min:
      return extreme(function, id);
    case Function::factorial:
    case Function::binomial:
    case Function::gcd:
    case Function::lcm:
    case Function::mod:
      return of_integers(function, id);
    default:
      break;
  }
  return x.real ? real_call(function, x.re) : Box::none(State::undefined);
}

template <class Real>
Value<Real> Evaluator<Real>::real_call(Function function, const Ball<Real>& x) {
  const Ball<Real> one{1, 0}, half_pi = pi<Real>() * Ball<Real>{Real(0.5), 0};
  const auto arcsine = [&](const Ball<Real>& y) {
    if (!y.fine()) return y;
    if (y.rad == 0 && (y.mid == 1 || y.mid == -1)) return y.mid > 0 ? half_pi : -half_pi;
    if (y.low() > 1 || y.high() < -1) return Ball<Real>::none(State::undefined);
    return atan(y / root(one - y * y));
  };
  const auto hyper = [&](bool sine) { return hyperbolic(x, sine); };
  switch (function) {
    case Function::asin:
      return real(arcsine(x));
    case Function::acos:
      return real(half_pi - arcsine(x));
    case Function::acsc:
      return real(arcsine(one / x));
    case Function::asec:
      return real(half_pi - arcsine(one / x));
    case Function::atan:
      return real(atan(x));
    case Function::acot:
      return real(half_pi - atan(x));
    case Function::sinh:
      return real(hyper(true));
    case Function::cosh:
      return real(hyper(false));
    case Function::tanh:
      return real(hyper(true) / hyper(false));
    case Function::floor:
    case Function::ceil:
    case Function::sign:
      return rounding(function, x);
    default:
      return Box::none(State::undefined);
  }
}

template <class Real>
Value<Real> Evaluator<Real>::rounding(Function function, const Ball<Real>& x) {
  using std::ceil;
  using std::floor;
  const auto step = [&](const Real& y) -> Real {
    if (function == Function::sign) return y > 0 ? 1 : y < 0 ? -1 : 0;
    return function == Function::floor ? Real(floor(y)) : Real(ceil(y));
  };
  const Real low = step(x.low()), high = step(x.high());
  return low == high ? real(Ball<Real>{low, 0}) : Box::none(State::imprecise);
}

template <class Real>
Value<Real> Evaluator<Real>::extreme(Function function, Id id) {
  const std::vector<Id> arguments(terms_.children(id).begin(), terms_.children(id).end());
  Ball<Real> best = at(arguments[0]).re;
  for (const Id argument : arguments) {
    const Box y = at(argument);
    if (!y.fine()) return y;
    if (!y.real) return Box::none(State::undefined);
    if (argument == arguments[0]) continue;
    const bool above = y.re.low() > best.high(), below = y.re.high() < best.low();
    if (!above && !below) return Box::none(State::imprecise);
    if (above == (function == Function::max)) best = y.re;
  }
  return real(best);
}

/// Functions of integers, at arguments that are small ones; of others there is nothing to say.
template <class Real>
Value<Real> Evaluator<Real>::of_integers(Function function, Id id) {
  using std::abs;
  using std::floor;
  std::vector<Id> arguments;
  const std::vector<Id> children(terms_.children(id).begin(), terms_.children(id).end());
  for (const Id child : children) {
    const Box x = at(child);
    if (!x.fine() || !x.real || abs(x.re.mid) > Real(1000)) return Box::none(State::imprecise);
    const Real nearest = floor(x.re.mid + Real(0.5));
    if (abs(x.re.mid - nearest) > x.re.rad || x.re.rad > Real(1e-6))
      return Box::none(State::imprecise);
    arguments.push_back(terms_.integer(static_cast<std::int64_t>(nearest)));
  }
  const Id folded = terms_.call(function, arguments);
  return terms_.is(folded, Op::number) ? number(terms_.value(folded)) : Box::none(State::imprecise);
}

template <class Real>
Ball<Real> Evaluator<Real>::log_magnitude(Id id) {
  if (!terms_.budget.spend(kDear<Real>)) return Ball<Real>::none(State::imprecise);
  if (terms_.is(id, Op::product)) {
    Ball<Real> total;
    const std::vector<Id> children(terms_.children(id).begin(), terms_.children(id).end());
    for (const Id child : children) total = total + log_magnitude(child);
    return total;
  }
  if (terms_.is(id, Op::power)) {
    const Box exponent = at(terms_.child(id, 1));
    if (!exponent.real) return Ball<Real>::none(State::imprecise);
    return exponent.re * log_magnitude(terms_.child(id, 0));
  }
  return log(magnitude(at(id)));
}

template class Evaluator<double>;
template class Evaluator<Float<256>>;
template class Evaluator<Float<1024>>;

}  // namespace r1::math

#include "csrc/rewards/math/scalars.h"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "csrc/rewards/math/evaluate.h"
#include "csrc/rewards/math/points.h"

namespace r1::math {
namespace {

using Wide = Float<256>;
using Widest = Float<1024>;

const Point kNoPoint;

template <class Real>
Value<Real> minus(const Value<Real>& a, const Value<Real>& b) {
  return {a.re - b.re, a.im - b.im, a.real && b.real};
}

}  // namespace

int Scalars::infinity(Id a) const {
  if (terms_.is_constant(a, Constant::infinity)) return 1;
  if (!terms_.is(a, Op::product) || terms_[a].count != 2) return 0;
  for (int k = 0; k < 2; ++k) {
    const Id factor = terms_.child(a, static_cast<std::size_t>(k));
    const Id other = terms_.child(a, static_cast<std::size_t>(1 - k));
    if (terms_.is_constant(factor, Constant::infinity) && terms_.is(other, Op::number)) {
      return terms_.value(other) > 0 ? 1 : -1;
    }
  }
  return 0;
}

/// Splits an answer into its value and what only says how it is counted.
Scalars::Measure Scalars::measure(Id id) {
  Measure m;
  m.value = id;
  m.factor = terms_.integer(1);
  // A unit, percent or degree sign may sit in a product: -5 cm, 2\cdot 30^\circ.
  if (terms_.is(id, Op::product)) {
    std::vector<Id> rest;
    Id marked = kNone;
    for (const Id child : terms_.children(id)) {
      const bool mark = terms_.is(child, Op::quantity) || terms_.is(child, Op::percent) ||
                        (terms_.is(child, Op::call) && terms_.function(child) == Function::degrees);
      mark&& marked == kNone ? marked = child : (rest.push_back(child), kNone);
    }
    if (marked != kNone && marked != id) {
      m = measure(marked);
      rest.push_back(m.value);
      m.value = terms_.product(rest);
      return m;
    }
    return m;
  }
  if (terms_.is(id, Op::quantity)) {
    const Id value = terms_.child(id, 0), factor = terms_.child(id, 1);
    const std::string dimension = terms_.name(id);
    m = measure(value);
    m.factor = factor;
    m.unit = true;
    m.dimension = dimension.starts_with('?') ? "" : dimension;
  } else if (terms_.is(id, Op::call) && terms_.function(id) == Function::degrees) {
    m.value = terms_.child(id, 0);
    m.unit = true;
    m.dimension = "angle^1 ";
  } else if (terms_.is(id, Op::percent)) {
    m = measure(terms_.child(id, 0));
    m.percent = true;
  } else if (terms_.is(id, Op::based)) {
    m.value = terms_.child(id, 0);
    m.digits = terms_.child(id, 1);
    m.based = true;
  }
  return m;
}

Truth Scalars::same(Id a, Id b) {
  if (a == b) return Truth::yes;
  const Measure left = measure(a), right = measure(b);
  if (left.value == kNone || right.value == kNone) return Truth::unknown;
  const Truth plain = measured(left, right);
  if (plain == Truth::yes) return plain;
  // 90 degrees are pi/2.
  const auto degrees = [](const Measure& m) { return m.dimension == "angle^1 "; };
  if (degrees(left) != degrees(right) && terms_[a].closed && terms_[b].closed) {
    const Measure& other = degrees(left) ? right : left;
    if (!other.unit || other.dimension == "radian^1 ") {
      const auto radians = [&](const Measure& m) {
        return degrees(m) ? terms_.call(Function::degrees, std::array{m.value}) : m.value;
      };
      if (same_value(radians(left), radians(right)) == Truth::yes) return Truth::yes;
    }
  }
  return plain;
}

/// 20 degrees, with the scale left out.
bool Scalars::is_temperature(const Measure& bare, const Measure& scaled) {
  return bare.dimension == "angle^1 " &&
         (scaled.dimension == "celsius^1 " || scaled.dimension == "fahrenheit^1 ");
}

Truth Scalars::measured(const Measure& a, const Measure& b) {
  using Units = MathPolicy::Units;
  using Percent = MathPolicy::Percent;
  Id left = a.value, right = b.value;
  if (policy_.units == Units::required && a.unit != b.unit) return Truth::no;
  if (policy_.units != Units::ignore) {
    if ((a.percent && !b.dimension.empty()) || (b.percent && !a.dimension.empty()))
      return Truth::no;
  }
  if (policy_.units != Units::ignore && !a.dimension.empty() && !b.dimension.empty()) {
    if (a.dimension != b.dimension && !is_temperature(a, b) && !is_temperature(b, a))
      return Truth::no;
    left = terms_.multiply(left, a.factor);
    right = terms_.multiply(right, b.factor);
  }
  const auto hundredth = [&](Id id, bool percent) {
    return percent && policy_.percent != Percent::ignore ? terms_.divide(id, terms_.integer(100))
                                                         : id;
  };
  Truth result = same_value(hundredth(left, a.percent), hundredth(right, b.percent));
  if (result != Truth::yes && a.percent != b.percent && policy_.percent == Percent::either) {
    if (same_value(left, right) == Truth::yes) return Truth::yes;
  }
  if (result != Truth::yes && a.based != b.based && policy_.base == MathPolicy::Base::digits) {
    result = same_value(a.based ? a.digits : left, b.based ? b.digits : right);
  }
  return result;
}

/// Exact, but for decimals: those count to `precision` places; below that, to as many digits.
Truth Scalars::rationals(const Rational& a, const Rational& b, bool inexact) const {
  if (a == b) return Truth::yes;
  if (!inexact) return Truth::no;
  const Rational tolerance =
      Rational(1) / mp::pow(Integer(10), static_cast<unsigned>(policy_.precision));
  const Rational size_a = abs(a), size_b = abs(b), difference = abs(Rational(a - b));
  const Rational larger = std::max(size_a, size_b);
  const bool small = std::min(size_a, size_b) < tolerance;
  return (small ? difference < tolerance * larger : difference < tolerance) ? Truth::yes
                                                                            : Truth::no;
}

Truth Scalars::same_value(Id a, Id b) {
  if (a == kNone || b == kNone || terms_.budget.is_over()) return Truth::unknown;
  if (a == b) return Truth::yes;
  if (!is_scalar(terms_[a].op) || !is_scalar(terms_[b].op)) return Truth::no;
  const bool inexact = terms_[a].inexact || terms_[b].inexact;
  if (terms_.is(a, Op::number) && terms_.is(b, Op::number)) {
    return rationals(terms_.value(a), terms_.value(b), inexact);
  }
  const int left = infinity(a), right = infinity(b);
  if (left != 0 || right != 0) return left == right ? Truth::yes : Truth::no;
  if (terms_[a].closed && terms_[b].closed) return inexact ? nearly(a, b) : constants(a, b);
  if (is_rational_function(terms_, a) && is_rational_function(terms_, b))
    return same_rational_function(terms_, a, b);
  return sampled(a, b);
}

template <class Real>
Truth Scalars::balls(Id a, Id b, const Point& point, bool complex) {
  Evaluator<Real> evaluator(terms_, point, decimal_logs_);
  const Value<Real> left = evaluator.at(a), right = evaluator.at(b);
  if (!left.fine() || !right.fine()) return Truth::unknown;
  if (!complex && (!left.real || !right.real)) return Truth::unknown;
  return minus(left, right).has_zero() ? Truth::yes : Truth::no;
}

/// Constants: balls that do not meet prove a difference; those that still do at 1,024 bits agree to
/// 300 digits, which no answer does by chance.
Truth Scalars::constants(Id a, Id b) {
  if (balls<double>(a, b, kNoPoint, true) == Truth::no) return Truth::no;
  Evaluator<Wide> wide(terms_, kNoPoint, decimal_logs_);
  const Value<Wide> left = wide.at(a), right = wide.at(b);
  if (left.fine() && right.fine() && !minus(left, right).has_zero()) return Truth::no;
  if (left.state() == State::undefined || right.state() == State::undefined) return Truth::no;
  if (!left.fine() || !right.fine()) {  // too large to write down: their logarithms may differ
    const Ball<Wide> difference = wide.log_magnitude(a) - wide.log_magnitude(b);
    return difference.fine() && !difference.has_zero() ? Truth::no : Truth::unknown;
  }
  Evaluator<Widest> widest(terms_, kNoPoint, decimal_logs_);
  const Value<Widest> difference = minus(widest.at(a), widest.at(b));
  if (!difference.fine()) return Truth::unknown;
  if (!difference.has_zero()) return Truth::no;
  using std::ldexp;
  const Widest close = ldexp(Widest(1), -940);
  const Value<Widest> size = widest.at(a);
  const Widest scale = 1 + abs(size.re.mid) + abs(size.im.mid);
  const bool sharp = difference.re.rad <= close * scale && difference.im.rad <= close * scale;
  return sharp ? Truth::yes : Truth::unknown;
}

/// Constants of which one was written as a decimal.
Truth Scalars::nearly(Id a, Id b) {
  Evaluator<Wide> wide(terms_, kNoPoint, decimal_logs_);
  const Value<Wide> left = wide.at(a), right = wide.at(b);
  if (left.state() == State::undefined || right.state() == State::undefined) return Truth::no;
  if (!left.fine() || !right.fine()) {
    const Ball<Wide> difference = wide.log_magnitude(a) - wide.log_magnitude(b);
    return difference.fine() && !difference.has_zero() ? Truth::no : Truth::unknown;
  }
  const auto size = [](const Wide& re, const Wide& im) { return Wide(sqrt(re * re + im * im)); };
  const Wide difference = size(left.re.mid - right.re.mid, left.im.mid - right.im.mid);
  const Wide one = size(left.re.mid, left.im.mid), two = size(right.re.mid, right.im.mid);
  const Wide tolerance = pow(Wide(10), -policy_.precision);
  const bool small = std::min(one, two) < tolerance;
  const Wide allowed = small ? Wide(tolerance * std::max(one, two)) : tolerance;
  return difference < allowed ? Truth::yes : Truth::no;
}

Truth Scalars::sampled(Id a, Id b) {
  const Truth real = sampled_at(a, b, false);
  return real == Truth::unknown ? sampled_at(a, b, true) : real;
}

/// Functions that are not rational: wherever both are defined, at points of many kinds.
Truth Scalars::sampled_at(Id a, Id b, bool complex) {
  static constexpr int kEnough = 4;
  Points points(terms_, a, b);
  int agreed = 0;
  for (int n = 0; n < points.count() && (agreed < kEnough || n < points.least()); ++n) {
    if (terms_.budget.is_over()) return Truth::unknown;
    const Point& point = points.at(n);
    Truth here = balls<double>(a, b, point, complex);
    if (here != Truth::no) here = balls<Wide>(a, b, point, complex);
    if (here == Truth::no) return Truth::no;
    agreed += here == Truth::yes;
  }
  return agreed >= kEnough ? Truth::yes : Truth::unknown;
}

Truth Scalars::less(Id a, Id b) {
  const int left = infinity(a), right = infinity(b);
  if (left != 0 || right != 0) return left < right ? Truth::yes : Truth::no;
  if (terms_.is(a, Op::number) && terms_.is(b, Op::number)) {
    return terms_.value(a) < terms_.value(b) ? Truth::yes : Truth::no;
  }
  if (!terms_[a].closed || !terms_[b].closed) return Truth::unknown;
  Evaluator<Wide> wide(terms_, kNoPoint, decimal_logs_);
  const Value<Wide> x = wide.at(a), y = wide.at(b);
  if (!x.fine() || !y.fine() || !x.real || !y.real) return Truth::unknown;
  if (x.re.high() < y.re.low()) return Truth::yes;
  if (y.re.high() < x.re.low()) return Truth::no;
  return same_value(a, b) == Truth::yes ? Truth::no : Truth::unknown;
}

}  // namespace r1::math

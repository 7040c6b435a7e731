#pragma once
#include <string>

#include "csrc/rewards/math/modular.h"
#include "csrc/rewards/math/terms.h"
#include "csrc/rewards/math_policy.h"

namespace r1::math {

/// Compares terms that stand for one number or one expression: rungs 2, 4, 5 and 6 of the ladder.
class Scalars {
 public:
  Scalars(Terms& terms, const MathPolicy& policy, bool decimal_logs)
      : terms_(terms), policy_(policy), decimal_logs_(decimal_logs) {}

  /// Whether two answers agree, units, percent signs and bases by policy.
  Truth same(Id a, Id b);
  /// Whether two terms have the same value, or are the same function of their symbols.
  Truth same_value(Id a, Id b);
  /// Whether a < b, for two real constants.
  Truth less(Id a, Id b);
  /// +1 or -1 for a term that is plus or minus infinity, else 0.
  int infinity(Id a) const;
  /// Whether a term can be a number or an expression at all.
  static bool is_scalar(Op op) { return op <= Op::based; }

 private:
  struct Measure {  // value * factor of a unit
    Id value = kNone, factor = kNone;
    std::string dimension;
    bool unit = false, percent = false, based = false;
    Id digits = kNone;
  };

  Measure measure(Id id);
  static bool is_temperature(const Measure& bare, const Measure& scaled);
  Truth measured(const Measure& a, const Measure& b);
  Truth rationals(const Rational& a, const Rational& b, bool inexact) const;
  Truth constants(Id a, Id b);
  Truth nearly(Id a, Id b);
  Truth sampled(Id a, Id b);
  Truth sampled_at(Id a, Id b, bool complex);
  template <class Real>
  Truth balls(Id a, Id b, const struct Point& point, bool complex);

  Terms& terms_;
  const MathPolicy& policy_;
  bool decimal_logs_;
};

}  // namespace r1::math

#pragma once
#include <cstdint>
#include <vector>

#include "csrc/rewards/math/complex_ball.h"
#include "csrc/rewards/math/terms.h"

namespace r1::math {

/// A number for every symbol, by the symbol's node: the point at which a term is tried.
struct Point {
  std::vector<Id> symbols;
  std::vector<Rational> values;
};

/// Terms as numbers that are known to lie within their balls. Each distinct subterm is computed
/// once.
template <class Real>
class Evaluator {
 public:
  /// @param decimal_logs  whether \log without a base is to base 10
  Evaluator(Terms& terms, const Point& point, bool decimal_logs)
      : terms_(terms), point_(point), decimal_logs_(decimal_logs) {}

  Value<Real> at(Id id);
  /// ln |x|, also for powers too large to be written as numbers; real balls only.
  Ball<Real> log_magnitude(Id id);

 private:
  using Box = Value<Real>;
  struct Known {
    bool done = false;
    Box value;
  };

  Box evaluate(Id id);
  Box number(const Rational& value);
  Box power(Id base, Id exponent);
  Box whole_power(Box base, std::int64_t exponent);
  Box call(Id id);
  Box real_call(Function function, const Ball<Real>& x);
  Box rounding(Function function, const Ball<Real>& x);
  Box extreme(Function function, Id id);
  Box of_integers(Function function, Id id);

  Terms& terms_;
  const Point& point_;
  bool decimal_logs_;
  std::vector<Known> known_;
};

extern template class Evaluator<double>;
extern template class Evaluator<Float<256>>;
extern template class Evaluator<Float<1024>>;

}  // namespace r1::math

#pragma once
#include <vector>

#include "csrc/rewards/math/evaluate.h"
#include "csrc/rewards/math/modular.h"

namespace r1::math {

/// The points at which two functions are tried: random, of both signs and many sizes; beyond every
/// number in them where max, min or |x| may change their piece; on both sides of integers and their
/// halves and thirds where floor steps; at small integers for factorials and the like.
class Points {
 public:
  Points(const Terms& terms, Id a, Id b);

  /// The n-th point, n = 0, 1, ...; the symbols are the same in all.
  const Point& at(int n);
  int count() const { return special() + 28; }
  /// So many are tried even where fewer agree already.
  int least() const { return special() + 8; }

 private:
  void examine(const Terms& terms, Id id, int depth);
  int special() const { return 2 * static_cast<int>(beyond_.size()) + (steps_ ? kSteps : 0); }
  Rational value(int n, std::size_t symbol);
  Rational random_size(int power);

  static constexpr int kSteps = 24;

  Draws draws_;
  Point point_;
  std::vector<Rational> numbers_, beyond_;
  bool pieces_ = false, steps_ = false, integers_ = false;
};

}  // namespace r1::math

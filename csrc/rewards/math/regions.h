#pragma once
#include <optional>
#include <vector>

#include "csrc/rewards/math/scalars.h"

namespace r1::math {

/// A stretch of the real line; an end that is infinite is never closed.
struct Piece {
  Id low = kNone, high = kNone;
  bool low_closed = false, high_closed = false;
};
using Region = std::vector<Piece>;  // sorted, apart from each other

/// Sets of real numbers as unions of intervals, from intervals, finite sets, set operations and
/// inequalities in one variable: x > 3 and (3, oo) are the same region.
class Regions {
 public:
  Regions(Terms& terms, Scalars& scalars) : terms_(terms), scalars_(scalars) {}

  /// The region of a term; nothing where it is none, or its ends cannot be ordered.
  std::optional<Region> of(Id id);
  Truth same(const Region& a, const Region& b);

 private:
  static constexpr std::size_t kMaxPieces = 128;
  using Found = std::optional<Region>;

  Found interval(Id low, Id high, bool low_closed, bool high_closed);
  Found finite(Id id);
  Found relation(Id id);
  Found linear(Relation relation, Id slope, Id offset);
  Found quadratic(Relation relation, Id a, Id b, Id c);
  Found half_line(Id end, bool above, bool closed);
  Found unite(const Region& a, const Region& b);
  Found complement(const Region& a);
  Found intersect(const Region& a, const Region& b);
  Found all();

  std::optional<int> order(Id a, Id b);

  Terms& terms_;
  Scalars& scalars_;
};

}  // namespace r1::math

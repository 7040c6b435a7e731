#include "csrc/rewards/math/regions.h"

#include <algorithm>
#include <array>

namespace r1::math {

/// -1, 0, 1 as a is below, at or above b; nothing where that is not known.
std::optional<int> Regions::order(Id a, Id b) {
  if (a == b) return 0;
  const Truth below = scalars_.less(a, b);
  if (below == Truth::unknown) return std::nullopt;
  if (below == Truth::yes) return -1;
  const Truth same = scalars_.same_value(a, b);
  if (same == Truth::unknown) return std::nullopt;
  return same == Truth::yes ? 0 : 1;
}

Regions::Found Regions::all() {
  const Id infinity = terms_.constant(Constant::infinity);
  return Region{{terms_.negate(infinity), infinity, false, false}};
}

Regions::Found Regions::interval(Id low, Id high, bool low_closed, bool high_closed) {
  const auto ordered = order(low, high);
  if (!ordered || *ordered > 0) return std::nullopt;
  low_closed = low_closed && scalars_.infinity(low) == 0;
  high_closed = high_closed && scalars_.infinity(high) == 0;
  if (*ordered == 0 && !(low_closed && high_closed)) return Region{};
  return Region{{low, high, low_closed, high_closed}};
}

Regions::Found Regions::half_line(Id end, bool above, bool closed) {
  const Id infinity = terms_.constant(Constant::infinity);
  return above ? interval(end, infinity, closed, false)
               : interval(terms_.negate(infinity), end, false, closed);
}

Regions::Found Regions::finite(Id id) {
  Found region = Region{};
  const std::vector<Id> members(terms_.children(id).begin(), terms_.children(id).end());
  for (const Id member : members) {
    if (!Scalars::is_scalar(terms_[member].op) || !terms_[member].closed ||
        scalars_.infinity(member) != 0)
      return std::nullopt;
    const Found point = interval(member, member, true, true);
    if (!point || !region) return std::nullopt;
    region = unite(*region, *point);
  }
  return region;
}

Regions::Found Regions::of(Id id) {
  if (id == kNone || !terms_.budget.spend(100)) return std::nullopt;
  const Node node = terms_[id];
  switch (node.op) {
    case Op::interval:
      return interval(terms_.child(id, 0), terms_.child(id, 1), node.tag & 1, node.tag & 2);
    case Op::tuple:
    case Op::bracketed: {
      if (node.count != 2) return std::nullopt;
      const bool closed = node.op == Op::bracketed;
      return interval(terms_.child(id, 0), terms_.child(id, 1), closed, closed);
    }
    case Op::set:
      return finite(id);
    case Op::number_set:
      if (terms_.name(id) == "R") return all();
      if (terms_.name(id).empty()) return Region{};
      return std::nullopt;
    case Op::set_builder:
      return of(terms_.child(id, 0));
    case Op::relation:
      return relation(id);
    case Op::set_union:
    case Op::any_of:
    case Op::set_intersection:
    case Op::all_of:
    case Op::set_difference: {
      const bool either = node.op == Op::set_union || node.op == Op::any_of;
      const std::vector<Id> parts(terms_.children(id).begin(), terms_.children(id).end());
      if (terms_.symbols(id).size() > 1) return std::nullopt;
      Found total = of(parts[0]);
      for (std::size_t k = 1; k < parts.size() && total; ++k) {
        Found next = of(parts[k]);
        if (next && node.op == Op::set_difference) next = complement(*next);
        if (!next) return std::nullopt;
        total = either ? unite(*total, *next) : intersect(*total, *next);
      }
      return total;
    }
    default:
      return std::nullopt;
  }
}

Regions::Found Regions::relation(Id id) {
  const Id left = terms_.child(id, 0), right = terms_.child(id, 1);
  const Relation kind = terms_.relation(id);
  if (kind == Relation::in) return of(right);
  const auto symbols = terms_.symbols(id);
  if (symbols.size() != 1 || kind == Relation::other) return std::nullopt;
  if (!Scalars::is_scalar(terms_[left].op) || !Scalars::is_scalar(terms_[right].op))
    return std::nullopt;
  if (scalars_.infinity(left) != 0 || scalars_.infinity(right) != 0) {  // x < oo
    return kind == Relation::not_equal || kind == Relation::equal ? std::nullopt : all();
  }
  const Id f = terms_.subtract(left, right), x = symbols[0];
  const auto at = [&](std::int64_t value) {
    return terms_.substitute(f, x, terms_.integer(value));
  };
  const Id offset = at(0), one = at(1), minus_one = at(-1);
  if (offset == kNone || one == kNone || minus_one == kNone) return std::nullopt;
  const Id slope = terms_.subtract(one, offset);
  if (scalars_.same_value(f, terms_.add(terms_.multiply(slope, x), offset)) == Truth::yes) {
    return linear(kind, slope, offset);
  }
  const Id half = terms_.number(Rational(1) / 2);
  const Id a = terms_.subtract(terms_.multiply(half, terms_.add(one, minus_one)), offset);
  const Id b = terms_.multiply(half, terms_.subtract(one, minus_one));
  const Id square = terms_.multiply(a, terms_.power(x, terms_.integer(2)));
  if (scalars_.same_value(f, terms_.sum(std::array{square, terms_.multiply(b, x), offset})) !=
      Truth::yes)
    return std::nullopt;
  return quadratic(kind, a, b, offset);
}

/// slope * x + offset against 0.
Regions::Found Regions::linear(Relation kind, Id slope, Id offset) {
  const auto sign = order(slope, terms_.integer(0));
  if (!sign || *sign == 0) return std::nullopt;
  const Id root = terms_.negate(terms_.divide(offset, slope));
  const Found point = interval(root, root, true, true);
  if (!point || kind == Relation::equal) return point;
  if (kind == Relation::not_equal) return complement(*point);
  const bool greater = kind == Relation::greater || kind == Relation::greater_equal;
  const bool closed = kind == Relation::less_equal || kind == Relation::greater_equal;
  return half_line(root, greater == (*sign > 0), closed);
}

/// a x^2 + b x + c against 0.
Regions::Found Regions::quadratic(Relation kind, Id a, Id b, Id c) {
  const Id zero = terms_.integer(0), two = terms_.integer(2);
  const Id discriminant =
      terms_.subtract(terms_.power(b, two), terms_.product(std::array{terms_.integer(4), a, c}));
  const auto up = order(a, zero), roots = order(discriminant, zero);
  if (!up || *up == 0 || !roots) return std::nullopt;
  Region between, points;  // where the sign is the other than far out; where it is zero
  if (*roots >= 0) {
    const Id spread = terms_.call(Function::root, std::array{discriminant, two});
    const Id scale = terms_.multiply(two, a), middle = terms_.negate(b);
    Id low = terms_.divide(terms_.subtract(middle, spread), scale),
       high = terms_.divide(terms_.add(middle, spread), scale);
    if (*up < 0) std::swap(low, high);
    const Found inner = interval(low, high, false, false), first = interval(low, low, true, true),
                second = interval(high, high, true, true);
    if (!inner || !first || !second) return std::nullopt;
    const Found both = unite(*first, *second);
    if (!both) return std::nullopt;
    between = *inner;
    points = *both;
  }
  if (kind == Relation::equal) return points;
  if (kind == Relation::not_equal) return complement(points);
  const bool greater = kind == Relation::greater || kind == Relation::greater_equal;
  const bool closed = kind == Relation::less_equal || kind == Relation::greater_equal;
  const Found inside = unite(between, points);
  if (!inside) return std::nullopt;
  const bool outside = greater == (*up > 0);
  if (outside) return complement(closed ? between : *inside);
  return closed ? *inside : between;
}

Regions::Found Regions::unite(const Region& a, const Region& b) {
  Region pieces = a;
  pieces.insert(pieces.end(), b.begin(), b.end());
  if (pieces.size() > kMaxPieces) return std::nullopt;
  bool known = true;
  // Insertion sort: the order of two ends may be unknown, which std::sort must not meet.
  for (std::size_t k = 1; k < pieces.size() && known; ++k) {
    for (std::size_t j = k; j > 0; --j) {
      const auto before = order(pieces[j].low, pieces[j - 1].low);
      if (!before) known = false;
      if (!before || *before > 0 ||
          (*before == 0 && !(pieces[j].low_closed && !pieces[j - 1].low_closed)))
        break;
      std::swap(pieces[j], pieces[j - 1]);
    }
  }
  if (!known) return std::nullopt;
  Region merged;
  for (const Piece& piece : pieces) {
    if (merged.empty()) {
      merged.push_back(piece);
      continue;
    }
    Piece& last = merged.back();
    const auto gap = order(piece.low, last.high);
    if (!gap) return std::nullopt;
    if (*gap > 0 || (*gap == 0 && !piece.low_closed && !last.high_closed)) {
      merged.push_back(piece);
      continue;
    }
    const auto longer = order(piece.high, last.high);
    if (!longer) return std::nullopt;
    if (*longer > 0) {
      last.high = piece.high;
      last.high_closed = piece.high_closed;
    } else if (*longer == 0) {
      last.high_closed |= piece.high_closed;
    }
  }
  return merged;
}

Regions::Found Regions::complement(const Region& a) {
  const Id infinity = terms_.constant(Constant::infinity);
  Region rest;
  Piece open{terms_.negate(infinity), kNone, false, false};
  for (const Piece& piece : a) {
    open.high = piece.low;
    open.high_closed = !piece.low_closed;
    const Found before = interval(open.low, open.high, open.low_closed, open.high_closed);
    if (!before) return std::nullopt;
    rest.insert(rest.end(), before->begin(), before->end());
    open.low = piece.high;
    open.low_closed = !piece.high_closed;
  }
  const Found after = interval(open.low, infinity, open.low_closed, false);
  if (!after) return std::nullopt;
  rest.insert(rest.end(), after->begin(), after->end());
  return rest;
}

/// What is outside of neither.
Regions::Found Regions::intersect(const Region& a, const Region& b) {
  const Found left = complement(a), right = complement(b);
  if (!left || !right) return std::nullopt;
  const Found outside = unite(*left, *right);
  return outside ? complement(*outside) : std::nullopt;
}

Truth Regions::same(const Region& a, const Region& b) {
  if (a.size() != b.size()) return Truth::no;
  for (std::size_t k = 0; k < a.size(); ++k) {
    if (a[k].low_closed != b[k].low_closed || a[k].high_closed != b[k].high_closed)
      return Truth::no;
    for (const auto& [x, y] : {std::pair(a[k].low, b[k].low), std::pair(a[k].high, b[k].high)}) {
      const Truth same = scalars_.same_value(x, y);
      if (same != Truth::yes) return same;
    }
  }
  return Truth::yes;
}

}  // namespace r1::math

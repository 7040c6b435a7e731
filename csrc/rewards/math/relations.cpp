/// Equations and inequalities: unwrapped to their values, compared as relations, or as the regions
/// they describe.
#include <algorithm>
#include <array>

#include "csrc/rewards/math/equality.h"

namespace r1::math {

bool Equality::is_equation(Id id) const {
  if (terms_.is(id, Op::all_of)) {
    const auto parts = terms_.children(id);
    return terms_[id].tag == 1 &&
           std::all_of(parts.begin(), parts.end(), [&](Id part) { return is_equation(part); });
  }
  return terms_.is(id, Op::relation) && terms_.relation(id) == Relation::equal;
}

bool Equality::is_inequality(Id id) const {
  if (terms_.is(id, Op::relation))
    return terms_.relation(id) != Relation::equal && terms_.relation(id) != Relation::other;
  return (terms_.is(id, Op::all_of) || terms_.is(id, Op::any_of)) && !is_equation(id) &&
         terms_[id].count > 0 &&
         (is_inequality(terms_.child(id, 0)) ||
          is_inequality(terms_.child(id, terms_[id].count - 1)));
}

/// x, f(x), (x, y): what an answer may be called.
bool Equality::is_name(Id id) const {
  if (terms_.is(id, Op::symbol)) return true;
  if (terms_.is(id, Op::call) && terms_.function(id) == Function::function) return true;
  if (!terms_.is(id, Op::tuple) && !terms_.is(id, Op::list)) return false;
  const auto parts = terms_.children(id);
  return std::all_of(parts.begin(), parts.end(),
                     [&](Id part) { return terms_.is(part, Op::symbol); });
}

/// The value that an equation gives to a name, or to both its sides; kNone where it gives none.
Id Equality::value_of_equation(Id equation, Id other) {
  Id left, right;
  if (terms_.is(equation, Op::all_of)) {  // x = 2 + 3 = 5
    left = terms_.child(terms_.child(equation, 0), 0);
    right = terms_.child(terms_.child(equation, terms_[equation].count - 1), 1);
  } else {
    left = terms_.child(equation, 0);
    right = terms_.child(equation, 1);
  }
  const auto names = [&](Id name, Id value) {
    if (!is_name(name)) return false;
    if (!terms_.is(name, Op::symbol)) return true;
    const auto symbols = terms_.symbols(value);
    return std::find(symbols.begin(), symbols.end(), name) == symbols.end();
  };
  if (names(left, right)) return right;
  if (names(right, left)) return left;
  // 3 * 4 = 12 says 12, if it is true; so does AB = 12 of a segment.
  if (terms_[left].closed && terms_[right].closed) {
    return same(left, right) == Truth::yes ? right : kNone;
  }
  if (!terms_[right].closed || !terms_[other].closed) return kNone;
  return Scalars::is_scalar(terms_[right].op) && is_segment(left) ? right : kNone;
}

/// AB, or AB with a bar: capitals side by side name a length or an angle, not a product.
bool Equality::is_segment(Id id) const {
  if (terms_.is(id, Op::call) && terms_.function(id) == Function::conjugate)
    id = terms_.child(id, 0);
  if (!terms_.is(id, Op::product)) return false;
  const auto factors = terms_.children(id);
  return std::all_of(factors.begin(), factors.end(), [&](Id factor) {
    return terms_.is(factor, Op::symbol) && terms_.name(factor)[0] >= 'A' &&
           terms_.name(factor)[0] <= 'Z';
  });
}

/// x = 1, y = 2 as the values in the order of the names; also (x, y) = (1, 2).
std::vector<Id> Equality::assignments(Id id) {
  std::vector<std::pair<std::string, Id>> found;
  const auto add = [&](Id name, Id value) {
    if (terms_.is(name, Op::symbol) && terms_[value].closed)
      found.emplace_back(terms_.name(name), value);
  };
  Ids parts = {id};
  if (terms_.is(id, Op::list) || terms_.is(id, Op::all_of) || terms_.is(id, Op::tuple) ||
      terms_.is(id, Op::set)) {
    parts.assign(terms_.children(id).begin(), terms_.children(id).end());
  }
  std::size_t wanted = parts.size();
  for (const Id part : parts) {
    if (!terms_.is(part, Op::relation) || terms_.relation(part) != Relation::equal) return {};
    const Id left = terms_.child(part, 0), right = terms_.child(part, 1);
    const auto names = sequence(left), values = sequence(right);
    if (names && values && names->size() == values->size()) {
      wanted += names->size() - 1;
      for (std::size_t k = 0; k < names->size(); ++k) add((*names)[k], (*values)[k]);
    } else {
      add(left, right);
    }
  }
  if (found.size() != wanted || found.size() < 2) return {};
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  Ids values;
  for (const auto& [name, value] : found) {
    values.push_back(terms_.relation(Relation::equal, terms_.symbol(name), value));
  }
  return values;
}

Truth Equality::same_up_to_factor(Id f, Id g) {
  if (f == kNone || g == kNone) return Truth::unknown;
  const Id zero = terms_.integer(0);
  if (scalars_.same_value(f, zero) == Truth::yes || scalars_.same_value(g, zero) == Truth::yes)
    return Truth::no;
  // f(x) g(y) = f(y) g(x) for all x, y; y renames every symbol.
  Id f_y = f, g_y = g;
  Ids symbols = terms_.symbols(f);
  for (const Id symbol : terms_.symbols(g)) symbols.push_back(symbol);
  for (const Id symbol : symbols) {
    const Id renamed = terms_.symbol(terms_.name(symbol) + "|");
    f_y = terms_.substitute(f_y, symbol, renamed);
    g_y = terms_.substitute(g_y, symbol, renamed);
  }
  return scalars_.same_value(terms_.multiply(f, g_y), terms_.multiply(f_y, g));
}

Truth Equality::equations(Id a, Id b) {
  if (terms_.is(a, Op::all_of) || terms_.is(b, Op::all_of)) {
    // A chain counts for its ends: x = 2 + 3 = 5.
    const auto ends = [&](Id id) {
      if (!terms_.is(id, Op::all_of)) return id;
      return terms_.relation(Relation::equal, terms_.child(terms_.child(id, 0), 0),
                             terms_.child(terms_.child(id, terms_[id].count - 1), 1));
    };
    return same(ends(a), ends(b));
  }
  const Id a_left = terms_.child(a, 0), a_right = terms_.child(a, 1);
  const Id b_left = terms_.child(b, 0), b_right = terms_.child(b, 1);
  if (a_left == b_left && is_name(a_left)) return same(a_right, b_right);
  if (!terms_.is(a_left, Op::symbol) && !terms_.is(b_left, Op::symbol)) {
    const Truth sides = same(a_left, b_left);
    if (sides == Truth::yes && !terms_[a_left].closed && same(a_right, b_right) == Truth::yes)
      return Truth::yes;
  }
  for (const Id side : {a_left, a_right, b_left, b_right}) {
    if (!Scalars::is_scalar(terms_[side].op)) return Truth::no;
  }
  if (terms_[a].closed || terms_[b].closed) return Truth::no;  // 7 = 3 + 4 says nothing
  return same_up_to_factor(terms_.subtract(a_left, a_right), terms_.subtract(b_left, b_right));
}

/// f < 0 against g < 0 in several variables: g must be a positive multiple of f.
Truth Equality::inequalities(Id a, Id b) {
  if (!terms_.is(a, Op::relation) || !terms_.is(b, Op::relation)) return Truth::no;
  const auto zeroed = [&](Id id, Relation& kind) {
    kind = terms_.relation(id);
    const Id f = terms_.subtract(terms_.child(id, 0), terms_.child(id, 1));
    if (kind == Relation::greater) return kind = Relation::less, terms_.negate(f);
    if (kind == Relation::greater_equal) return kind = Relation::less_equal, terms_.negate(f);
    return f;
  };
  for (const Id side :
       {terms_.child(a, 0), terms_.child(a, 1), terms_.child(b, 0), terms_.child(b, 1)}) {
    if (!Scalars::is_scalar(terms_[side].op)) return Truth::no;
  }
  Relation a_kind, b_kind;
  const Id f = zeroed(a, a_kind), g = zeroed(b, b_kind);
  if (f == kNone || g == kNone) return Truth::unknown;
  if (a_kind != b_kind || terms_[f].closed || terms_[g].closed) return Truth::no;
  const Truth multiple = same_up_to_factor(f, g);
  if (multiple != Truth::yes || a_kind == Relation::not_equal) return multiple;
  // The factor's sign, at a point where neither is zero.
  Draws draws;
  for (int attempt = 0; attempt < 4; ++attempt) {
    Id x = f, y = g;
    for (const Id symbol : terms_.symbols(terms_.add(f, terms_.multiply(g, terms_.symbol("|"))))) {
      const Id value =
          terms_.number(Rational(static_cast<std::int64_t>(draws.below(2000)) - 1000) / 7);
      x = terms_.substitute(x, symbol, value);
      y = terms_.substitute(y, symbol, value);
    }
    const Id zero = terms_.integer(0);
    if (x == kNone || y == kNone) continue;
    if (scalars_.same_value(x, zero) != Truth::no || scalars_.same_value(y, zero) != Truth::no)
      continue;
    const Truth left = scalars_.less(x, zero), right = scalars_.less(y, zero);
    if (left != Truth::unknown && right != Truth::unknown)
      return left == right ? Truth::yes : Truth::no;
  }
  return Truth::unknown;
}

std::optional<Truth> Equality::as_regions(Id a, Id b) {
  const auto strict = [&](Id id) {
    const Op op = terms_[id].op;
    return op == Op::interval || op == Op::set_union || op == Op::set_intersection ||
           op == Op::set_difference || op == Op::number_set || op == Op::set_builder ||
           is_inequality(id);
  };
  if (!strict(a) && !strict(b)) return std::nullopt;
  if (!policy_.open_intervals && (terms_.is(a, Op::tuple) || terms_.is(b, Op::tuple)))
    return Truth::no;
  // Different variables describe different conditions, not different sets.
  const auto x = terms_.symbols(a), y = terms_.symbols(b);
  const auto unnamed = [&](const Ids& names) {
    return names.size() == 1 && terms_.name(names[0]) == "?";
  };
  if (!x.empty() && !y.empty() && x != y && !unnamed(x) && !unnamed(y) &&
      !terms_.is(a, Op::set_builder) && !terms_.is(b, Op::set_builder))
    return std::nullopt;
  const auto left = regions_.of(a);
  if (!left) return std::nullopt;
  const auto right = regions_.of(b);
  if (!right) return std::nullopt;
  const Truth truth = regions_.same(*left, *right);
  return truth == Truth::unknown ? std::nullopt : std::optional(truth);
}

}  // namespace r1::math

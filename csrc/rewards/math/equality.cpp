#include "csrc/rewards/math/equality.h"

#include <algorithm>
#include <array>

#include "csrc/rewards/math/spelling.h"

namespace r1::math {
namespace {

constexpr int kMaxDepth = 40;
constexpr std::size_t kMaxMembers = 4'096;
constexpr unsigned kMaxSigns = 4;  // 2^4 choices of plus and minus

}  // namespace

bool Equality::is_collection(Id id) const {
  const Op op = terms_[id].op;
  if (op == Op::any_of) return !is_inequality(id);
  return op == Op::list || op == Op::set || terms_[id].plus_minus;
}

/// {{1}}, {\emptyset}
bool Equality::holds_a_set(Id id) const {
  if (!terms_.is(id, Op::set)) return false;
  const auto members = terms_.children(id);
  return std::any_of(members.begin(), members.end(), [&](Id member) {
    return terms_.is(member, Op::set) || terms_.is(member, Op::number_set);
  });
}

/// The term with its plus-minus signs chosen: bit k of `signs` for the k-th, all \mp as the others.
std::optional<Id> Equality::with_signs(Id id, unsigned signs, unsigned& next) {
  if (!terms_[id].plus_minus) return id;
  Ids replaced(terms_.children(id).begin(), terms_.children(id).end());
  const bool sign = terms_.is(id, Op::plus_minus), opposite = terms_[id].tag == 1;
  unsigned index = 0;
  if (sign) {
    index = opposite ? 0 : next++;
    next = std::max(next, 1u);  // \mp alone has a sign of its own
    if (next > kMaxSigns) return std::nullopt;
  }
  for (Id& child : replaced) {
    const auto chosen = with_signs(child, signs, next);
    if (!chosen || *chosen == kNone) return std::nullopt;
    child = *chosen;
  }
  if (!sign) return terms_.with_children(id, replaced);
  const bool minus = ((signs >> index) & 1) != (opposite ? 1u : 0u);
  return minus ? terms_.negate(replaced[0]) : replaced[0];
}

/// Appends the answers that an answer holds; false where they are too many.
bool Equality::members(Id id, Ids& out) {
  if (!is_collection(id)) {
    out.push_back(id);
    return out.size() <= kMaxMembers;
  }
  const Op op = terms_[id].op;
  if (op == Op::list || op == Op::set || op == Op::any_of) {
    const Ids children(terms_.children(id).begin(), terms_.children(id).end());
    for (const Id child : children) {
      const bool inner = !terms_.is(child, Op::set);  // a set in a set stays one
      if (inner ? !members(child, out) : (out.push_back(child), false)) return false;
    }
    return out.size() <= kMaxMembers;
  }
  for (unsigned signs = 0; signs < (1u << kMaxSigns); ++signs) {
    unsigned used = 0;
    const auto chosen = with_signs(id, signs, used);
    if (!chosen) return false;
    if (signs >> used) break;  // all choices made
    out.push_back(*chosen);
  }
  return true;
}

Truth Equality::same(Id a, Id b) {
  if (a == kNone || b == kNone || terms_.budget.is_over() || depth_ > kMaxDepth)
    return Truth::unknown;
  if (a == b) return Truth::yes;
  ++depth_;
  const Truth result = same_kinds(a, b);
  --depth_;
  return result;
}

Truth Equality::same_kinds(Id a, Id b) {
  const Op left = terms_[a].op, right = terms_[b].op;
  if (left == Op::text || right == Op::text) return Truth::no;  // nodes differ, so words do
  if ((holds_a_set(a) && right != Op::set) || (holds_a_set(b) && left != Op::set)) return Truth::no;
  const auto residue = [&](Id id) {  // 12 (mod 7) is 5
    return terms_.is(id, Op::call) && terms_.function(id) == Function::function &&
           terms_.name(id) == "pmod" && terms_.is(terms_.child(id, 0), Op::number);
  };
  if (residue(a) && right == Op::number) return same(terms_.child(a, 0), b);
  if (residue(b) && left == Op::number) return same(a, terms_.child(b, 0));
  if (left == Op::clock || right == Op::clock) return clocks(a, b);
  if (const Truth regions = as_regions(a, b); regions != Truth::unknown) return regions;

  const bool a_in = left == Op::relation && terms_.relation(a) == Relation::in;
  const bool b_in = right == Op::relation && terms_.relation(b) == Relation::in;
  if (a_in || b_in) return same(a_in ? terms_.child(a, 1) : a, b_in ? terms_.child(b, 1) : b);

  // x = 1, y = 2 beside (1, 2) or (x, y) = (1, 2)
  const Ids a_values = assignments(a), b_values = assignments(b);
  if (!a_values.empty() && !b_values.empty()) return pairwise(a_values, b_values);
  if (!a_values.empty() || !b_values.empty()) {
    Ids values;
    for (const Id equation : a_values.empty() ? b_values : a_values)
      values.push_back(terms_.child(equation, 1));
    const Id other = a_values.empty() ? a : b;
    if (const auto items = sequence(other)) return pairwise(values, *items);
  }

  if (members_ > 0 && (left == Op::set) != (right == Op::set)) return Truth::no;  // {{1}}, {1}
  const bool a_many = is_collection(a), b_many = is_collection(b);
  const auto a_items = sequence(a), b_items = sequence(b);
  if (a_many && b_many && !(policy_.ordered_lists && left == Op::list && right == Op::list)) {
    Ids x, y;
    if (!members(a, x) || !members(b, y)) return Truth::unknown;
    return matching(std::move(x), std::move(y), left != Op::list || right != Op::list);
  }
  if (is_equation(a) && is_equation(b)) {
    if (!a_many && !b_many) return equations(a, b);
  } else if (is_equation(a) && !a_many) {
    const Id value = value_of_equation(a, b);
    return value == kNone ? Truth::no : same(value, b);
  } else if (is_equation(b) && !b_many) {
    const Id value = value_of_equation(b, a);
    return value == kNone ? Truth::no : same(a, value);
  }
  if (a_items && b_items) {
    // (1, 2) is not [1, 2]; longer ones are no intervals.
    const bool pair = a_items->size() == 2 && b_items->size() == 2;
    const bool brackets = (left == Op::tuple && right == Op::bracketed) ||
                          (left == Op::bracketed && right == Op::tuple);
    if (pair && brackets) return Truth::no;
    const bool matrices = left == Op::matrix && right == Op::matrix;
    if (matrices && (terms_[a].tag != terms_[b].tag || terms_.name(a) != terms_.name(b)))
      return Truth::no;
    return pairwise(*a_items, *b_items);
  }
  if (a_many || b_many) {
    Ids x, y;
    if (!members(a, x) || !members(b, y)) return Truth::unknown;
    return matching(std::move(x), std::move(y), true);
  }
  if (left == Op::ratio || right == Op::ratio) return ratios(a, b);
  if (const Id x = scaled_matrix(a), y = scaled_matrix(b); x != a || y != b) return same(x, y);
  if (is_inequality(a) && is_inequality(b)) {
    if (left == Op::relation && right == Op::relation) return inequalities(a, b);
    if (left == right && terms_[a].count == terms_[b].count) {
      return matching({terms_.children(a).begin(), terms_.children(a).end()},
                      {terms_.children(b).begin(), terms_.children(b).end()}, false);
    }
    return Truth::no;
  }
  if (Scalars::is_scalar(left) && Scalars::is_scalar(right)) return scalars_.same(a, b);
  // Intervals and set operations whose ends are no numbers.
  if (left == right && terms_[a].tag == terms_[b].tag && terms_.name(a) == terms_.name(b) &&
      terms_[a].count > 0) {
    const Ids x(terms_.children(a).begin(), terms_.children(a).end()),
        y(terms_.children(b).begin(), terms_.children(b).end());
    const bool unordered =
        left == Op::set_union || left == Op::set_intersection || left == Op::any_of;
    return unordered ? matching(x, y, false) : pairwise(x, y);
  }
  return Truth::no;
}

/// The items of what has an order: (1, 2), [1, 2, 3], <1, 2>, a matrix, or a list by commas.
std::optional<std::vector<Id>> Equality::sequence(Id id) const {
  const Op op = terms_[id].op;
  if (op != Op::tuple && op != Op::bracketed && op != Op::matrix && op != Op::list)
    return std::nullopt;
  return Ids(terms_.children(id).begin(), terms_.children(id).end());
}

Truth Equality::pairwise(const Ids& a, const Ids& b) {
  if (a.size() != b.size()) return Truth::no;
  Truth result = Truth::yes;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const Truth item = same(a[k], b[k]);
    if (item == Truth::no) return Truth::no;
    if (item == Truth::unknown) result = item;
  }
  return result;
}

/// "5 red" and "5 blue", where each stands among others.
bool Equality::count_different_things(Id a, Id b) const {
  if (!terms_.is(a, Op::quantity) || !terms_.is(b, Op::quantity)) return false;
  const std::string_view one = terms_.name(a), two = terms_.name(b);
  if (!one.starts_with('?') || !two.starts_with('?')) return false;
  return one.find(two.substr(1)) == one.npos && two.find(one.substr(1)) == two.npos;
}

/// A perfect matching of equal members. As sets, members that stand twice count once.
Truth Equality::matching(Ids a, Ids b, bool as_sets) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  if (as_sets) {
    a.erase(std::unique(a.begin(), a.end()), a.end());
    b.erase(std::unique(b.begin(), b.end()), b.end());
  } else if (a.size() != b.size()) {
    return Truth::no;
  }
  // The same node on both sides is a match that no other can better.
  Ids left, right;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(left));
  std::set_difference(b.begin(), b.end(), a.begin(), a.end(), std::back_inserter(right));
  if (!as_sets && left.size() != right.size()) return Truth::no;
  if (left.size() * right.size() > 65'536) return Truth::unknown;

  ++members_;
  const Truth result = matching_of(left, right, a, b, as_sets);
  --members_;
  return result;
}

/// @param left, right  what is not the same node in a and b
Truth Equality::matching_of(const Ids& left, const Ids& right, const Ids& a, const Ids& b,
                            bool as_sets) {
  bool unknown = false;
  std::vector<std::vector<std::size_t>> partners(left.size());
  std::vector<bool> has_partner(right.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    for (std::size_t j = 0; j < right.size(); ++j) {
      if (count_different_things(left[i], right[j])) continue;
      const Truth equal = same(left[i], right[j]);
      unknown |= equal == Truth::unknown;
      if (equal != Truth::yes) continue;
      partners[i].push_back(j);
      has_partner[j] = true;
    }
  }
  if (as_sets) {  // every member is in the other set, too; those that both hold may be meant
    const auto within = [&](Id member, const Ids& set) {
      return std::any_of(set.begin(), set.end(),
                         [&](Id other) { return same(member, other) == Truth::yes; });
    };
    bool covered = true;
    for (std::size_t i = 0; i < left.size(); ++i)
      covered &= !partners[i].empty() || within(left[i], b);
    for (std::size_t j = 0; j < right.size(); ++j) covered &= has_partner[j] || within(right[j], a);
    return covered ? Truth::yes : unknown ? Truth::unknown : Truth::no;
  }
  std::vector<std::ptrdiff_t> taken(right.size(), -1);  // Kuhn's augmenting paths
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::vector<bool> tried(right.size());
    const auto augment = [&](const auto& self, std::size_t from) -> bool {
      for (const std::size_t j : partners[from]) {
        if (tried[j]) continue;
        tried[j] = true;
        if (taken[j] < 0 || self(self, static_cast<std::size_t>(taken[j]))) {
          taken[j] = static_cast<std::ptrdiff_t>(from);
          return true;
        }
      }
      return false;
    };
    if (!augment(augment, i)) return unknown ? Truth::unknown : Truth::no;
  }
  return Truth::yes;
}

Truth Equality::ratios(Id a, Id b) {
  const auto parts = [&](Id id) {
    if (!terms_.is(id, Op::ratio)) return Ids{id, terms_.integer(1)};
    return Ids(terms_.children(id).begin(), terms_.children(id).end());
  };
  for (const Id id : {a, b}) {
    if (!terms_.is(id, Op::ratio) && !Scalars::is_scalar(terms_[id].op)) return Truth::no;
  }
  const Ids x = parts(a), y = parts(b);
  if (x.size() != y.size()) return Truth::no;
  for (std::size_t k = 0; k + 1 < x.size(); ++k) {
    const Truth equal =
        scalars_.same_value(terms_.multiply(x[k], y[k + 1]), terms_.multiply(x[k + 1], y[k]));
    if (equal != Truth::yes) return equal;
  }
  return Truth::yes;
}

/// 4:30 p.m. is 16:30, and 4:30 where the half of the day is left open.
Truth Equality::clocks(Id a, Id b) {
  const auto minutes = [&](Id id) -> std::optional<std::int64_t> {
    if (terms_.is(id, Op::clock)) return small_integer(terms_.value(terms_.child(id, 0)));
    if (!terms_.is(id, Op::ratio) || terms_[id].count != 2) return std::nullopt;
    const Id hours = terms_.child(id, 0), rest = terms_.child(id, 1);
    if (!terms_.is(hours, Op::number) || !terms_.is(rest, Op::number)) return std::nullopt;
    const auto h = small_integer(terms_.value(hours)), m = small_integer(terms_.value(rest));
    return h && m && *h < 25 && *m < 60 ? std::optional(*h * 60 + *m) : std::nullopt;
  };
  const auto x = minutes(a), y = minutes(b);
  if (!x || !y) return Truth::no;
  const bool open = !terms_.is(a, Op::clock) || !terms_.is(b, Op::clock);
  const std::int64_t twelve = 12 * 60;
  if (*x == *y ||
      (open && (terms_.is(a, Op::clock) ? *y : *x) <= twelve + 59 && *x % twelve == *y % twelve))
    return Truth::yes;
  return Truth::no;
}

/// 2 * (a b; c d) as the matrix of the products.
Id Equality::scaled_matrix(Id id) {
  if (!terms_.is(id, Op::product)) return id;
  Id matrix = kNone;
  Ids scale;
  for (const Id child : terms_.children(id)) {
    const Op op = terms_[child].op;
    const bool found = op == Op::matrix || op == Op::tuple;
    if (found && matrix != kNone) return id;
    found ? matrix = child : (scale.push_back(child), kNone);
  }
  if (matrix == kNone) return id;
  Ids cells(terms_.children(matrix).begin(), terms_.children(matrix).end());
  const Id factor = terms_.product(scale);
  for (Id& cell : cells) cell = terms_.multiply(factor, cell);
  return terms_.with_children(matrix, cells);
}

}  // namespace r1::math

#include "csrc/rewards/math/equality.h"

#include <algorithm>
#include <array>

#include "csrc/rewards/math/spelling.h"

namespace r1::math {
namespace {

constexpr int kMaxDepth = 40;

}  // namespace

Truth Equality::same(Id a, Id b) {
  if (a == kNone || b == kNone || terms_.budget.is_over() || depth_ > kMaxDepth)
    return Truth::unknown;
  if (a == b) return Truth::yes;
  ++depth_;
  const Truth result = same_kinds(a, b);
  --depth_;
  return result;
}

/// The ladder from the kinds that say most to plain values; the first rung that knows the pair
/// answers.
Truth Equality::same_kinds(Id a, Id b) {
  using Rung = std::optional<Truth> (Equality::*)(Id, Id);
  static constexpr std::array<Rung, 9> kRungs = {
      &Equality::as_words,       &Equality::as_residues,  &Equality::as_regions,
      &Equality::as_memberships, &Equality::as_values,    &Equality::as_collections,
      &Equality::as_equations,   &Equality::as_sequences, &Equality::as_any_members};
  for (const Rung rung : kRungs) {
    if (const auto truth = (this->*rung)(a, b)) return *truth;
  }
  if (terms_.is(a, Op::ratio) || terms_.is(b, Op::ratio)) return ratios(a, b);
  if (const Id x = scaled_matrix(a), y = scaled_matrix(b); x != a || y != b) return same(x, y);
  if (is_inequality(a) && is_inequality(b)) return conditions(a, b);
  if (Scalars::is_scalar(terms_[a].op) && Scalars::is_scalar(terms_[b].op))
    return scalars_.same(a, b);
  return same_structure(a, b);
}

/// Words, clock times, and sets of sets, which nothing else equals.
std::optional<Truth> Equality::as_words(Id a, Id b) {
  if (terms_.is(a, Op::text) || terms_.is(b, Op::text)) return Truth::no;  // the nodes differ
  if ((holds_a_set(a) && !terms_.is(b, Op::set)) || (holds_a_set(b) && !terms_.is(a, Op::set)))
    return Truth::no;
  if (terms_.is(a, Op::clock) || terms_.is(b, Op::clock)) return clocks(a, b);
  return std::nullopt;
}

/// 12 (mod 7) is 5.
std::optional<Truth> Equality::as_residues(Id a, Id b) {
  const auto residue = [&](Id id) {
    return terms_.is(id, Op::call) && terms_.function(id) == Function::function &&
           terms_.name(id) == "pmod" && terms_.is(terms_.child(id, 0), Op::number);
  };
  if (residue(a) && terms_.is(b, Op::number)) return same(terms_.child(a, 0), b);
  if (residue(b) && terms_.is(a, Op::number)) return same(a, terms_.child(b, 0));
  return std::nullopt;
}

/// x \in S is S.
std::optional<Truth> Equality::as_memberships(Id a, Id b) {
  const auto membership = [&](Id id) {
    return terms_.is(id, Op::relation) && terms_.relation(id) == Relation::in;
  };
  if (!membership(a) && !membership(b)) return std::nullopt;
  return same(membership(a) ? terms_.child(a, 1) : a, membership(b) ? terms_.child(b, 1) : b);
}

/// x = 1, y = 2 beside (1, 2) or (x, y) = (1, 2).
std::optional<Truth> Equality::as_values(Id a, Id b) {
  const Ids a_values = assignments(a), b_values = assignments(b);
  if (a_values.empty() && b_values.empty()) return std::nullopt;
  if (!a_values.empty() && !b_values.empty()) return pairwise(a_values, b_values);
  const auto items = sequence(a_values.empty() ? a : b);
  if (!items) return std::nullopt;
  Ids values;
  for (const Id equation : a_values.empty() ? b_values : a_values)
    values.push_back(terms_.child(equation, 1));
  return pairwise(values, *items);
}

std::optional<Truth> Equality::as_collections(Id a, Id b) {
  const Op left = terms_[a].op, right = terms_[b].op;
  if (members_ > 0 && (left == Op::set) != (right == Op::set)) return Truth::no;  // {{1}}, {1}
  const bool in_order = policy_.ordered_lists && left == Op::list && right == Op::list;
  if (!is_collection(a) || !is_collection(b) || in_order) return std::nullopt;
  Ids x, y;
  if (!members(a, x) || !members(b, y)) return Truth::unknown;
  return matching(std::move(x), std::move(y), left != Op::list || right != Op::list);
}

std::optional<Truth> Equality::as_equations(Id a, Id b) {
  const bool a_is = is_equation(a), b_is = is_equation(b);
  if (a_is && b_is) {
    if (is_collection(a) || is_collection(b)) return std::nullopt;
    return equations(a, b);
  }
  if ((!a_is && !b_is) || is_collection(a_is ? a : b)) return std::nullopt;
  const Id equation = a_is ? a : b, other = a_is ? b : a;
  const Id value = value_of_equation(equation, other);
  return value == kNone ? Truth::no : same(value, other);
}

std::optional<Truth> Equality::as_sequences(Id a, Id b) {
  const auto x = sequence(a), y = sequence(b);
  if (!x || !y) return std::nullopt;
  const Op left = terms_[a].op, right = terms_[b].op;
  // (1, 2) is not [1, 2]; longer ones are no intervals.
  const bool brackets = (left == Op::tuple && right == Op::bracketed) ||
                        (left == Op::bracketed && right == Op::tuple);
  if (x->size() == 2 && y->size() == 2 && brackets) return Truth::no;
  const bool matrices = left == Op::matrix && right == Op::matrix;
  if (matrices && (terms_[a].tag != terms_[b].tag || terms_.name(a) != terms_.name(b)))
    return Truth::no;
  return pairwise(*x, *y);
}

/// A collection beside one answer.
std::optional<Truth> Equality::as_any_members(Id a, Id b) {
  if (!is_collection(a) && !is_collection(b)) return std::nullopt;
  Ids x, y;
  if (!members(a, x) || !members(b, y)) return Truth::unknown;
  return matching(std::move(x), std::move(y), true);
}

/// Inequalities, one or several at once.
Truth Equality::conditions(Id a, Id b) {
  if (terms_.is(a, Op::relation) && terms_.is(b, Op::relation)) return inequalities(a, b);
  if (terms_[a].op != terms_[b].op || terms_[a].count != terms_[b].count) return Truth::no;
  return matching({terms_.children(a).begin(), terms_.children(a).end()},
                  {terms_.children(b).begin(), terms_.children(b).end()}, false);
}

/// Intervals and set operations whose ends are no numbers: equal part by part.
Truth Equality::same_structure(Id a, Id b) {
  const Op op = terms_[a].op;
  const bool alike = op == terms_[b].op && terms_[a].tag == terms_[b].tag &&
                     terms_.name(a) == terms_.name(b) && terms_[a].count > 0;
  if (!alike) return Truth::no;
  const Ids x(terms_.children(a).begin(), terms_.children(a).end()),
      y(terms_.children(b).begin(), terms_.children(b).end());
  const bool unordered = op == Op::set_union || op == Op::set_intersection || op == Op::any_of;
  return unordered ? matching(x, y, false) : pairwise(x, y);
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

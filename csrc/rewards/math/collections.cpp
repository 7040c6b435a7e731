#include <algorithm>

#include "csrc/rewards/math/equality.h"

namespace r1::math {
namespace {

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

}  // namespace r1::math

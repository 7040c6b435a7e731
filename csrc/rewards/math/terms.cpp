#include "csrc/rewards/math/terms.h"

#include <algorithm>
#include <optional>

namespace r1::math {
namespace {

constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = text.size();
  for (const char c : text) hash = mix(hash, static_cast<std::uint8_t>(c));
  return hash;
}

std::uint64_t hash_of(const Rational& value) {
  std::uint64_t hash = value < 0 ? 1 : 2;
  for (const Integer& part :
       {Integer(abs(Integer(mp::numerator(value)))), Integer(mp::denominator(value))}) {
    const auto& backend = part.backend();
    for (unsigned k = 0; k < backend.size(); ++k) hash = mix(hash, backend.limbs()[k]);
  }
  return hash;
}

}  // namespace

void Terms::clear() {
  budget.reset();
  nodes_.clear();
  children_.clear();
  numbers_.clear();
  names_.clear();
  interned_.clear();
}

std::uint16_t Terms::name_index(std::string_view name) {
  // Newest first: names repeat close to each other, and there are few.
  for (std::size_t k = names_.size(); k-- > 0;) {
    if (names_[k] == name) return static_cast<std::uint16_t>(k);
  }
  names_.emplace_back(name);
  return static_cast<std::uint16_t>(names_.size() - 1);
}

bool Terms::same(const Node& a, const Node& b, std::span<const Id> children) const {
  if (a.op != b.op || a.tag != b.tag || a.inexact != b.inexact || a.count != b.count) return false;
  if (a.op == Op::number) return numbers_[a.payload] == numbers_[b.payload];
  return a.payload == b.payload &&
         std::equal(children.begin(), children.end(), children_.begin() + a.first);
}

/// Stores a node, or finds the one that is there already.
Id Terms::intern(Node node, std::span<const Id> children) {
  if (!budget.spend(40)) return kNone;
  node.hash =
      mix(mix(node.hash, static_cast<std::uint64_t>(node.op) * 512 + node.tag), node.inexact);
  int depth = 0;
  for (const Id child : children) {
    if (child == kNone) return kNone;
    const Node& below = (*this)[child];
    node.hash = mix(node.hash, below.hash);
    node.inexact |= below.inexact;
    node.closed &= below.closed;
    node.plus_minus |= below.plus_minus;
    depth = std::max<int>(depth, below.depth + 1);
  }
  node.count = static_cast<std::uint32_t>(children.size());
  const auto [begin, end] = interned_.equal_range(node.hash);
  for (auto at = begin; at != end; ++at) {
    if (same((*this)[at->second], node, children)) return at->second;
  }
  if (nodes_.size() >= kMaxNodes || depth > kMaxDepth ||
      children_.size() + children.size() > 8 * kMaxNodes) {
    budget.end();
    return kNone;
  }
  node.depth = static_cast<std::uint8_t>(depth);
  node.first = static_cast<std::uint32_t>(children_.size());
  children_.insert(children_.end(), children.begin(), children.end());
  nodes_.push_back(node);
  const Id id = static_cast<Id>(nodes_.size() - 1);
  interned_.emplace(node.hash, id);
  return id;
}

Id Terms::number(Rational value, bool inexact) {
  Node node;
  node.op = Op::number;
  node.inexact = inexact;
  node.hash = hash_of(value);
  numbers_.push_back(std::move(value));
  node.payload = static_cast<std::uint16_t>(numbers_.size() - 1);
  if (numbers_.size() >= 4 * kMaxNodes) budget.end();
  const Id id = intern(node, {});
  if (id != kNone && (*this)[id].payload != node.payload) numbers_.pop_back();
  return id;
}

Id Terms::make(Op op, std::uint8_t tag, std::span<const Id> children, std::string_view name,
               bool inexact) {
  Node node;
  node.op = op;
  node.tag = tag;
  node.inexact = inexact;
  node.closed =
      op != Op::symbol && !(op == Op::call && tag == static_cast<std::uint8_t>(Function::function));
  node.plus_minus = op == Op::plus_minus;
  node.payload = name_index(name);
  node.hash = hash_of(name);
  // The children may be a view of children_, which grows.
  const std::vector<Id> copy(children.begin(), children.end());
  return intern(node, copy);
}

Id Terms::sum(std::span<const Id> terms) {
  std::vector<Id> flat;
  std::optional<Rational> total = Rational(0);
  bool inexact = false;
  const auto take = [&](Id id) {
    if (!is(id, Op::number)) return flat.push_back(id);
    inexact |= (*this)[id].inexact;
    total = total ? math::add(*total, value(id), budget) : total;
  };
  for (const Id term : terms) {
    if (term == kNone) return kNone;
    if (!is(term, Op::sum)) {
      take(term);
      continue;
    }
    for (const Id inner : children(term)) take(inner);
  }
  if (!total) return kNone;
  if (flat.empty()) return number(*total, inexact);
  if (!total->is_zero() || inexact) flat.push_back(number(*total, inexact));
  if (flat.size() == 1) return flat[0];
  if (std::any_of(flat.begin(), flat.end(), [](Id id) { return id == kNone; })) return kNone;
  std::sort(flat.begin(), flat.end(),
            [&](Id a, Id b) { return (*this)[a].hash < (*this)[b].hash; });
  return make(Op::sum, 0, flat);
}

Id Terms::product(std::span<const Id> factors) {
  std::vector<Id> flat;
  std::optional<Rational> total = Rational(1);
  bool inexact = false;
  const auto take = [&](Id id) {
    if (!is(id, Op::number)) return flat.push_back(id);
    inexact |= (*this)[id].inexact;
    total = total ? math::multiply(*total, value(id), budget) : total;
  };
  for (const Id factor : factors) {
    if (factor == kNone) return kNone;
    if (!is(factor, Op::product)) {
      take(factor);
      continue;
    }
    for (const Id inner : children(factor)) take(inner);
  }
  if (!total) {  // too long to multiply out: a product of its factors
    flat.assign(factors.begin(), factors.end());
    total = Rational(1);
  }
  if (flat.empty()) return number(*total, inexact);
  if (std::count_if(flat.begin(), flat.end(), [&](Id id) { return is_square_root(id); }) > 1)
    return product_of_roots(flat, number(*total, inexact));
  const bool unbounded = std::any_of(flat.begin(), flat.end(), [&](Id id) {
    return is_constant(id, Constant::infinity) || (*this)[id].op > Op::call;
  });
  if (total->is_zero() && !unbounded) return number(*total, inexact);
  if (*total != 1 || inexact) flat.push_back(number(*total, inexact));
  if (flat.size() == 1) return flat[0];
  if (std::any_of(flat.begin(), flat.end(), [](Id id) { return id == kNone; })) return kNone;
  std::sort(flat.begin(), flat.end(),
            [&](Id a, Id b) { return (*this)[a].hash < (*this)[b].hash; });
  return make(Op::product, 0, flat);
}

Id Terms::power(Id base, Id exponent) {
  if (base == kNone || exponent == kNone) return kNone;
  const auto make_power = [&] { return make(Op::power, 0, std::array{base, exponent}); };
  if (!is(exponent, Op::number)) return make_power();
  const Rational e = value(exponent);
  if (e == 1) return base;
  const bool inexact = (*this)[base].inexact || (*this)[exponent].inexact;
  const auto whole = small_integer(e);
  if (whole && is_constant(base, Constant::i)) {
    const std::array<Id, 4> turns = {integer(1), base, integer(-1), negate(base)};
    return turns[static_cast<std::size_t>(((*whole % 4) + 4) % 4)];
  }
  if (whole && *whole == 0) return integer(1);
  if (is(base, Op::number)) {
    const Rational b = value(base);
    if (b.is_zero() && e < 0) return kNone;
    if (b.is_zero()) return base;
    if (b == 1) return base;
    if (whole) {
      const auto folded = math::power(b, *whole, budget);
      return folded ? number(*folded, inexact) : make_power();
    }
    const auto degree = small_integer(Rational(mp::denominator(e)));
    const auto times = small_integer(Rational(mp::numerator(e)));
    if (degree && *degree > 1 && times) {
      const auto root = exact_root(b, *degree, budget);
      if (root) {
        const auto folded = math::power(*root, *times, budget);
        if (folded) return number(*folded, inexact);
      }
    }
    return make_power();
  }
  if (whole && is(base, Op::power) && is(child(base, 1), Op::number) &&
      is_integer(value(child(base, 1)))) {
    return power(child(base, 0), multiply(child(base, 1), exponent));
  }
  if (whole && is_square_root(base)) {  // 1/sqrt 2 = sqrt 2 / 2
    const std::int64_t odd = *whole & 1, half = (*whole - odd) / 2;
    const Id rational = power(child(base, 0), integer(half));
    return odd ? multiply(rational, base) : rational;
  }
  return make_power();
}

Id Terms::with_children(Id id, std::span<const Id> replaced) {
  const Node node = (*this)[id];
  switch (node.op) {
    case Op::sum:
      return sum(replaced);
    case Op::product:
      return product(replaced);
    case Op::power:
      return power(replaced[0], replaced[1]);
    case Op::call:
      return call(function(id), replaced, std::string(name(id)));
    case Op::number:
      return id;
    default:
      return make(node.op, node.tag, replaced, std::string(name(id)), node.inexact);
  }
}

Id Terms::substitute(Id id, Id symbol, Id value) {
  if (id == symbol) return value;
  if (id == kNone || (*this)[id].closed || !budget.spend(10)) return budget.is_over() ? kNone : id;
  std::vector<Id> replaced(children(id).begin(), children(id).end());
  if (replaced.empty()) return id;
  for (Id& child : replaced) {
    child = substitute(child, symbol, value);
    if (child == kNone) return kNone;
  }
  return with_children(id, replaced);
}

std::vector<Id> Terms::symbols(Id id) const {
  std::vector<Id> found, open = {id};
  if (id == kNone) return found;
  std::vector<bool> seen(nodes_.size());
  while (!open.empty()) {
    const Id at = open.back();
    open.pop_back();
    if (seen[static_cast<std::size_t>(at)]) continue;
    seen[static_cast<std::size_t>(at)] = true;
    if (is(at, Op::symbol)) found.push_back(at);
    open.insert(open.end(), children(at).begin(), children(at).end());
  }
  std::sort(found.begin(), found.end(), [&](Id a, Id b) { return name(a) < name(b); });
  return found;
}

}  // namespace r1::math

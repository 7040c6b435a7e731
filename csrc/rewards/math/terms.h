#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "csrc/rewards/math/rational.h"

namespace r1::math {

/// A node of a term: what stands at its root.
enum class Op : std::uint8_t {
  number,      // an exact rational; inexact where it was written with a point
  symbol,      // a variable
  constant,    // Constant
  sum,         // of two or more
  product,     // of two or more
  power,       // base, exponent
  call,        // Function, its arguments
  plus_minus,  // one child: +child or -child; tag 1 is the opposite sign (\mp)
  percent,     // one child, divided by 100
  quantity,    // one child and a unit (name)
  based,       // one child, the value of digits written in another base (name: the digits)
  list,        // "1, 2": an order by policy only
  tuple,       // "(1, 2)": ordered; also an open interval
  bracketed,   // "[1, 2]": ordered; also a closed interval
  set,         // "{1, 2}"
  interval,    // two ends; tag: bit 0 the left, bit 1 the right end belongs to it
  set_union,
  set_intersection,
  set_difference,
  set_builder,  // one child: the condition
  number_set,   // name: N Z Q R C, or "" for the empty set
  matrix,       // rows of children; tag: columns
  relation,     // Relation, two children
  all_of,       // relations that hold together; a chain a < b < c is one
  any_of,       // alternatives
  ratio,        // "a : b : c"
  clock,        // minutes since midnight; tag: 1 where a half of the day was named
  text,         // words, normalised (name)
  none,         // of kNone alone
};

enum class Constant : std::uint8_t { pi, e, i, infinity };

enum class Function : std::uint8_t {
  sin,
  cos,
  tan,
  cot,
  sec,
  csc,
  asin,
  acos,
  atan,
  acot,
  asec,
  acsc,
  sinh,
  cosh,
  tanh,
  exp,
  ln,
  log,   // of no named base: e, or 10 where that makes an answer right
  root,  // (radicand, degree): real where the radicand is negative and the degree odd
  abs,
  floor,
  ceil,
  sign,
  factorial,
  binomial,
  gcd,
  lcm,
  mod,
  max,
  min,
  real,
  imag,
  conjugate,
  arg,
  degrees,   // x * pi / 180
  function,  // an unknown one: f(x)
};

enum class Relation : std::uint8_t {
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  other
};

using Id = std::int32_t;
inline constexpr Id kNone = -1;  // what could not be read or built

struct Node {
  Op op = Op::number;
  std::uint8_t tag = 0;
  bool inexact = false;     // some number in it was written with a point
  bool closed = true;       // holds no variable
  bool plus_minus = false;  // holds a plus-minus
  std::uint8_t depth = 0;
  std::uint16_t payload = 0;  // of a number or a name
  std::uint32_t first = 0, count = 0;
  std::uint64_t hash = 0;
};

/// The terms of one question, each distinct one stored once: equal ids are equal terms. Sums and
/// products are flat, sorted and have their numbers folded, so that many equal answers are the same
/// node as soon as they are read.
///
/// Anything beyond the limits ends the budget: from then on constructors return kNone.
class Terms {
 public:
  static constexpr std::size_t kMaxNodes = 8'192;
  static constexpr int kMaxDepth = 120;

  Budget budget;

  void clear();

  Id number(Rational value, bool inexact = false);
  Id integer(std::int64_t value) { return number(Rational(value)); }
  Id symbol(std::string_view name) { return make(Op::symbol, 0, {}, name); }
  Id constant(Constant which) { return make(Op::constant, static_cast<std::uint8_t>(which), {}); }
  Id text(std::string_view words) { return make(Op::text, 0, {}, words); }
  Id sum(std::span<const Id> terms);
  Id product(std::span<const Id> factors);
  Id power(Id base, Id exponent);
  Id call(Function function, std::span<const Id> arguments, std::string_view name = {});
  /// Any other node.
  Id make(Op op, std::uint8_t tag, std::span<const Id> children, std::string_view name = {},
          bool inexact = false);

  Id add(Id a, Id b) { return sum(std::array{a, b}); }
  Id multiply(Id a, Id b) { return product(std::array{a, b}); }
  Id negate(Id a) { return multiply(integer(-1), a); }
  Id subtract(Id a, Id b) { return add(a, negate(b)); }
  Id divide(Id a, Id b) { return multiply(a, power(b, integer(-1))); }
  Id relation(Relation relation, Id left, Id right) {
    return make(Op::relation, static_cast<std::uint8_t>(relation), std::array{left, right});
  }

  /// A node of the same kind over other children.
  Id with_children(Id id, std::span<const Id> children);
  /// The term with every symbol of that name replaced.
  Id substitute(Id id, Id symbol, Id value);

  /// A node; of kNone an empty one, which is no kind of answer.
  const Node& operator[](Id id) const {
    static constexpr Node kNothing{.op = Op::none, .closed = false};
    return id == kNone ? kNothing : nodes_[static_cast<std::size_t>(id)];
  }
  std::span<const Id> children(Id id) const {
    return {children_.data() + (*this)[id].first, (*this)[id].count};
  }
  Id child(Id id, std::size_t index) const { return children(id)[index]; }
  bool is(Id id, Op op) const { return (*this)[id].op == op; }
  const Rational& value(Id id) const { return numbers_[(*this)[id].payload]; }
  const std::string& name(Id id) const { return names_[(*this)[id].payload]; }
  Function function(Id id) const { return static_cast<Function>((*this)[id].tag); }
  Relation relation(Id id) const { return static_cast<Relation>((*this)[id].tag); }
  bool is_constant(Id id, Constant which) const {
    return is(id, Op::constant) && (*this)[id].tag == static_cast<std::uint8_t>(which);
  }
  /// The distinct symbols in a term, by name.
  std::vector<Id> symbols(Id id) const;

 private:
  Id intern(Node node, std::span<const Id> children);
  bool is_square_root(Id id) const;
  Id square_root(const Rational& radicand);
  Id product_of_roots(std::span<const Id> factors, Id coefficient);
  Id fold_call(Function function, std::span<const Id> arguments);
  bool same(const Node& a, const Node& b, std::span<const Id> children) const;
  std::uint16_t name_index(std::string_view name);

  std::vector<Node> nodes_;
  std::vector<Id> children_;
  std::vector<Rational> numbers_;
  std::vector<std::string> names_;
  std::unordered_multimap<std::uint64_t, Id> interned_;
};

}  // namespace r1::math

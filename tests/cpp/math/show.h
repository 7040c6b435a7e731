#pragma once
#include <array>
#include <sstream>
#include <string>

#include "csrc/rewards/math/parser.h"
#include "csrc/rewards/math/spelling.h"
#include "csrc/rewards/math/terms.h"

/// A term as an S-expression: (+ 1 (* 2 x)). Operands of + and * stand sorted.
inline std::string show(const r1::math::Terms& terms, r1::math::Id id) {
  using r1::math::Op;
  if (id == r1::math::kNone) return "none";
  const r1::math::Node& node = terms[id];
  if (node.op == Op::number) {
    std::ostringstream out;
    out << terms.value(id);
    return out.str();
  }
  if (node.op == Op::symbol || node.op == Op::text) return terms.name(id);
  if (node.op == Op::constant) {
    static constexpr std::array kConstants = {"pi", "e", "i", "oo"};
    return kConstants[node.tag];
  }
  static constexpr std::array kOps = {
      "number", "symbol",    "constant", "+",      "*",        "^",   "call",     "+-",    "%",
      "unit",   "based",     "list",     "tuple",  "square",   "set", "interval", "union", "cap",
      "minus",  "such-that", "numbers",  "matrix", "relation", "and", "or",       "ratio", "clock"};
  std::vector<std::string> children;
  for (const r1::math::Id child : terms.children(id)) children.push_back(show(terms, child));
  if (node.op == Op::sum || node.op == Op::product) std::sort(children.begin(), children.end());
  std::string out = "(";
  out.append(kOps[static_cast<std::size_t>(node.op)]);
  if (node.op == Op::call || node.op == Op::relation || node.op == Op::matrix ||
      node.op == Op::interval || node.op == Op::based)
    out.append(std::to_string(node.tag));
  if (!terms.name(id).empty()) out.append(":").append(terms.name(id));
  for (const std::string& child : children) out.append(" ").append(child);
  out.append(")");
  return out;
}

inline r1::math::Id parse(r1::math::Terms& terms, std::string_view text,
                          r1::math::Reading reading = {}) {
  const std::string latex = r1::math::to_latex(text);
  r1::math::Lexer lexer;
  if (!lexer.run(latex)) return r1::math::kNone;
  return r1::math::Parser(terms, lexer.tokens(), reading).run();
}

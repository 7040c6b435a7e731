#include <algorithm>
#include <array>

#include "csrc/rewards/math/parser.h"
#include "csrc/rewards/text.h"

namespace r1::math {
namespace {

using Text = std::string_view;

constexpr std::uint8_t kLeftClosed = 1, kRightClosed = 2;

}  // namespace

Id Parser::group() {
  const Text sign = peek().text;
  if (sign != "(" && sign != "[" && sign != "]" && sign != "{" && sign != "|") return kNone;
  ++at_;
  if (sign == "{") return braces();
  if (sign == "|") return bars("|");
  return round_or_square(sign);
}

/// What is between commas, up to whatever closes it. Inside brackets a comma separates: (1,234) is
/// a pair, or (1,2) and [1,2] would both be 1.2.
std::vector<Id> Parser::elements(int bars) {
  const int bars_before = std::exchange(bars_, bars);
  const Reading reading = reading_;
  reading_.commas = Reading::Commas::list;
  const Ambiguity ambiguity = ambiguity_;
  std::vector<Id> found;
  do {
    found.push_back(relation());
    if (found.back() == kNone) return {};
  } while (take_sign(",") || take_sign(";"));
  bars_ = bars_before;
  reading_ = reading;
  ambiguity_.thousands = ambiguity.thousands;
  ambiguity_.decimal = ambiguity.decimal;
  return found;
}

/// (a), (a, b), [a, b), ]a, b[ and so on.
Id Parser::round_or_square(Text open) {
  const bool reversed = std::exchange(reversed_, open == "]");
  const std::vector<Id> inside = elements();
  reversed_ = reversed;
  if (inside.empty()) return kNone;
  const Text close = peek().text;
  const bool square_close = close == "[" && inside.size() == 2;  // ]a, b[
  if (peek().kind != Lexeme::sign || (close != ")" && close != "]" && !square_close)) return kNone;
  ++at_;
  if (open != "]" && close != "[" && (open == "(") == (close == ")")) {
    if (inside.size() == 1) return inside[0];
    return terms_.make(open == "(" ? Op::tuple : Op::bracketed, 0, inside);
  }
  if (inside.size() != 2) return kNone;
  const int ends = (open == "[" ? kLeftClosed : 0) | (close == "]" ? kRightClosed : 0);
  if (ends == 0) return terms_.make(Op::tuple, 0, inside);  // ]a, b[ is the open interval
  if (ends == 3) return terms_.make(Op::bracketed, 0, inside);
  return terms_.make(Op::interval, static_cast<std::uint8_t>(ends), inside);
}

/// TeX's own braces group and show nothing; around a list they were meant to be seen.
Id Parser::braces() {
  if (take_sign("}")) return kNone;
  const int bars = std::exchange(bars_, 0);
  Id inside = alternatives();
  if (inside != kNone && take_command("over")) inside = terms_.divide(inside, alternatives());
  bars_ = bars;
  if (inside == kNone || !take_sign("}")) return kNone;
  if (!terms_.is(inside, Op::list)) return inside;
  const std::vector<Id> members(terms_.children(inside).begin(), terms_.children(inside).end());
  return terms_.make(Op::set, 0, members);
}

/// \{1, 2\}, \{x \mid x > 1\}, \{\}.
Id Parser::set_braces() {
  const auto closes = [&] { return take_command("}") || take_command("rbrace"); };
  if (closes()) return terms_.make(Op::number_set, 0, {});
  const std::vector<Id> members = elements(-1);  // a bar or colon here begins the condition
  if (members.empty()) return kNone;
  if (members.size() == 1 &&
      (take_sign("|") || take_command("mid") || take_sign(":") || take_command("vert"))) {
    const Id condition = alternatives();
    if (condition == kNone || !closes()) return kNone;
    Id variable = members[0];
    if (terms_.is(variable, Op::relation) && terms_.relation(variable) == Relation::in)
      variable = terms_.child(variable, 0);
    return terms_.is(variable, Op::symbol) ? terms_.make(Op::set_builder, 0, std::array{condition})
                                           : kNone;
  }
  return closes() ? terms_.make(Op::set, 0, members) : kNone;
}

Id Parser::bars(Text close) {
  const int bars = std::exchange(bars_, 1);
  const Id inside = additive();
  bars_ = bars;
  const bool closed = take_sign(close) || take_command(close);
  return inside != kNone && closed ? terms_.call(Function::abs, std::array{inside}) : kNone;
}

Id Parser::between(Text close, Function function) {
  const int bars = std::exchange(bars_, 0);
  const Id inside = additive();
  bars_ = bars;
  return inside != kNone && take_command(close) ? terms_.call(function, std::array{inside}) : kNone;
}

Id Parser::angle() {
  const std::vector<Id> inside = elements();
  if (inside.empty() || !take_command("rangle")) return kNone;
  return terms_.make(Op::tuple, 0, inside);
}

/// (a, b) or {a}{b} behind a function's name.
std::vector<Id> Parser::call_arguments() {
  if (at_sign("{")) return {argument(), argument()};
  const bool set = at_command("{");
  if (!set && !at_sign("(") && !at_sign("[")) return {};
  ++at_;
  std::vector<Id> found = elements();
  if (set ? take_command("}") : take_sign(")") || take_sign("]")) return found;
  return {};
}

Id Parser::environment() {
  if (!take_sign("{")) return kNone;
  std::string name;
  while (!at_end() && !at_sign("}")) name.append(tokens_[at_++].text);
  if (!take_sign("}")) return kNone;
  if (name == "array") script();  // the columns' alignment
  return environment_rows(name);
}

/// A cell of a system or of a function by cases: "if x > 0", "otherwise".
Id Parser::case_of_system() {
  if (take_word("otherwise") || take_word("else")) return terms_.text("otherwise");
  if (at_word("if") || at_word("for") || at_word("when")) ++at_;
  return relation();
}

Id Parser::environment_rows(Text name) {
  std::vector<Id> cells;
  std::size_t columns = 0, in_row = 0, rows = 0;
  const bool system = name == "cases" || name == "aligned" || name == "align" || name == "gathered";
  bool relations = true;
  for (;;) {
    if (at_command("end")) break;
    const Id cell = system ? case_of_system() : sets();
    if (cell == kNone) return kNone;
    cells.push_back(cell);
    relations &= terms_.is(cell, Op::relation);
    ++in_row;
    if (system && (at_sign(",") || at_sign(".") || at_sign(";"))) ++at_;
    if (take_sign("&")) continue;
    if (columns != 0 && in_row != columns) return kNone;
    columns = in_row;
    in_row = 0;
    ++rows;
    if (!take_command("\\")) break;
  }
  if (!take_command("end") || !take_sign("{")) return kNone;
  while (!at_end() && !at_sign("}")) ++at_;
  if (!take_sign("}") || in_row != 0 || cells.empty() || columns > 255) return kNone;
  if (name == "vmatrix") {
    return determinant(terms_.make(Op::matrix, static_cast<std::uint8_t>(columns), cells));
  }
  if (system && relations && columns == 1) return terms_.make(Op::list, 0, cells);
  return terms_.make(Op::matrix, static_cast<std::uint8_t>(columns), cells, system ? name : Text());
}

/// Expands a small determinant along its first row.
Id Parser::determinant(Id matrix) {
  const std::size_t n = terms_[matrix].tag;
  const std::vector<Id> cells(terms_.children(matrix).begin(), terms_.children(matrix).end());
  if (cells.size() != n * n || n > 4) return kNone;
  if (n == 1) return cells[0];
  std::vector<Id> sum;
  for (std::size_t column = 0; column < n; ++column) {
    std::vector<Id> minor;
    for (std::size_t k = n; k < cells.size(); ++k) {
      if (k % n != column) minor.push_back(cells[k]);
    }
    const Id rest = determinant(terms_.make(Op::matrix, static_cast<std::uint8_t>(n - 1), minor));
    if (rest == kNone) return kNone;
    const Id term = terms_.multiply(cells[column], rest);
    sum.push_back(column % 2 == 0 ? term : terms_.negate(term));
  }
  return terms_.sum(sum);
}

}  // namespace r1::math
